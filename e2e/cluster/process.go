package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// start runs a program inside the namespace as a session of its own that outlives us, with its output in
// logs/<name>.log and its identity in run/<name>.pid.
func (l Layout) start(name string, command ...string) error {
	log, err := os.OpenFile(l.file("logs", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	enter := append(l.Enter(), command...)
	process := exec.Command(enter[0], enter[1:]...)
	process.Stdout, process.Stderr = log, log
	process.Dir = l.Root
	// Nothing of the caller's surroundings: a proxy or a KUBECONFIG of theirs must not steer the cluster. containerd
	// finds its shim and runc on the PATH.
	process.Env = []string{"PATH=" + l.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.Root}
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() { _ = process.Wait() }() // reaps it should it end while we still run
	identity := fmt.Sprintf("%d %s\n", process.Process.Pid, startTime(process.Process.Pid))
	return os.WriteFile(l.pidFile(name), []byte(identity), 0o644)
}

func (l Layout) pidFile(name string) string { return l.file("run", name+".pid") }

// alive is the process id of a program that start started, and whether it still runs. A process id that somebody
// else has since been given is told apart by its start time.
func (l Layout) alive(name string) (int, bool) {
	text, err := os.ReadFile(l.pidFile(name))
	if err != nil {
		return 0, false
	}
	var pid int
	var started string
	if _, err := fmt.Sscan(string(text), &pid, &started); err != nil {
		return 0, false
	}
	return pid, started != "" && startTime(pid) == started
}

// startTime is field 22 of /proc/PID/stat; empty for a process that is gone or a zombie.
func startTime(pid int) string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	// The name in field 2 may hold spaces and brackets: count from its end.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// killAll ends every process of the cluster: nothing it holds outlives the folder. What a run that died has started
// without noting it is found by its network namespace, and what was being started meanwhile at the next look. Once
// nothing runs any more, and before it is gone, `standstill` may look at what there is.
func (l Layout) killAll(standstill func(pids []int)) error {
	return eventually(10*time.Second, func() error {
		victims := l.freeze()
		standstill(victims)
		for _, pid := range victims {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(victims) > 0 {
			return fmt.Errorf("processes %v do not end", victims)
		}
		return nil
	})
}

// freeze stops all own processes, until none is left that could start another.
func (l Layout) freeze() []int {
	stopped := map[int]bool{}
	for {
		own, appeared := l.ownProcesses(), false
		for _, pid := range own {
			if !stopped[pid] {
				stopped[pid], appeared = true, true
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
		if !appeared {
			return own
		}
	}
}

// ownProcesses are those that start started and all that descend from them, as their HOME tells; and those in our
// network namespace whose command line names our folder or whose program is one of our tools. A shell or a test that
// somebody runs in there is none of them.
func (l Layout) ownProcesses() []int {
	namespace, missing := os.Stat(l.netns())
	tools, err := filepath.EvalSymlinks(filepath.Dir(l.Bin))
	if err != nil {
		tools = l.Bin
	}
	var own []int
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, each := range all {
		pid, err := strconv.Atoi(filepath.Base(each))
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(each, "environ"))
		if l.descends(environment) {
			own = append(own, pid)
			continue
		}
		its, err := os.Stat(filepath.Join(each, "ns", "net"))
		if missing != nil || err != nil || !os.SameFile(namespace, its) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(each, "cmdline"))
		program, _ := os.Readlink(filepath.Join(each, "exe"))
		if strings.Contains(string(line), l.Root) || strings.HasPrefix(program, tools+"/") {
			own = append(own, pid)
		}
	}
	return own
}

// descends says whether an environment was handed on from a program that start started: network plugins, nft and mount
// show neither our folder nor our tools, and outlive who called them.
func (l Layout) descends(environment []byte) bool {
	return slices.Contains(strings.Split(string(environment), "\x00"), "HOME="+l.Root)
}

// logTail is the end of a program's log, for error messages.
func (l Layout) logTail(name string) string {
	text, _ := os.ReadFile(l.file("logs", name+".log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// waitFor polls until a program is ready, and shows the end of its log if it never is.
func (l Layout) waitFor(name string, patience time.Duration, ready func() error) error {
	err := eventually(patience, func() error {
		if _, alive := l.alive(name); !alive {
			return errEnded
		}
		return ready()
	})
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, l.logTail(name))
	}
	return nil
}

var errEnded = errors.New("the program ended")

// eventually polls until the condition holds, and returns its last complaint if it never does.
func eventually(patience time.Duration, condition func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := condition()
		if err == nil || errors.Is(err, errEnded) || time.Now().After(deadline) {
			return err
		}
	}
}
