package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// start runs a program inside the namespace as a process group of its own that outlives us, with its output in
// logs/<name>.log and its id in run/<name>.pid.
func (l Layout) start(name string, env []string, command ...string) error {
	log, err := os.OpenFile(l.file("logs", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	enter := append(l.Enter(), command...)
	process := exec.Command(enter[0], enter[1:]...)
	process.Stdout, process.Stderr = log, log
	process.Env = append(os.Environ(), env...)
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() { _ = process.Wait() }() // reaps it should it end while we still run
	return os.WriteFile(l.file("run", name+".pid"), []byte(strconv.Itoa(process.Process.Pid)), 0o644)
}

// stop ends one process that start started: SIGTERM, patience, SIGKILL. A process id that was reused by somebody
// else since is recognised by its command line and left alone.
func (l Layout) stop(name string, patience time.Duration) error {
	pidFile := l.file("run", name+".pid")
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", pidFile, err)
	}
	if l.owns(pid) {
		_ = syscall.Kill(-pid, syscall.SIGTERM)
		for deadline := time.Now().Add(patience); time.Now().Before(deadline) && l.owns(pid); {
			time.Sleep(50 * time.Millisecond)
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	return os.Remove(pidFile)
}

// owns says whether the process is one of ours: its command line names our folder or our programs.
func (l Layout) owns(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && (strings.Contains(string(line), l.Root) || strings.Contains(string(line), l.Bin))
}

// logTail is the end of a program's log, for error messages.
func (l Layout) logTail(name string) string {
	text, _ := os.ReadFile(l.file("logs", name+".log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
