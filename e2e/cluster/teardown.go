package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// looks is how often Down looks at least, however long one look takes.
const looks = 5

// Down stops everything that Up started and removes its files. It is safe to call at any time, and after a run that
// died: it goes by what is there, not by what was noted. What was just being started, or has not ended yet, shows up
// at the next look, so it looks until nothing is left.
func (l Layout) Down(progress io.Writer) error {
	began := time.Now()
	_, missing := os.Stat(l.Root)
	if err := l.clear(2 * time.Minute); err != nil {
		return fmt.Errorf("cluster down: not all of it is gone after %.0f s: %w", time.Since(began).Seconds(), err)
	}
	removeParents()
	if missing == nil {
		fmt.Fprintf(progress, "  cluster is down    %5.1f s\n", time.Since(began).Seconds())
	}
	return nil
}

// clear looks until nothing is left: for as long as said, and several times even if a single look takes longer.
func (l Layout) clear(patience time.Duration) error {
	left := remains{containers: map[string]container{}, sockets: map[string]bool{}}
	deadline := time.Now().Add(patience)
	for number := 1; ; number++ {
		err := l.sweep(&left)
		if err == nil || (number >= looks && time.Now().After(deadline)) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// remains is what was seen of the cluster outside its folder. It is remembered, because the files that tell of it go
// away before it does.
type remains struct {
	containers map[string]container
	sockets    map[string]bool // of shims
}

// sweep is one look of Down. Nothing is taken away while something that uses it may still live: first the programs,
// which could start more; then the processes in containers; then mounts; then what tells of them all.
func (l Layout) sweep(left *remains) error {
	err := l.killAll(func(pids []int) {
		for _, each := range shimSockets(pids) {
			left.sockets[each] = true
		}
	})
	if err != nil {
		return err
	}
	for _, each := range l.containers() {
		left.containers[each.id] = each
	}
	var problems []error
	for _, each := range left.containers {
		problems = append(problems, each.kill())
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if err := l.unmount(); err != nil {
		return err
	}
	for _, each := range left.containers {
		problems = append(problems, each.forget())
	}
	for socket := range left.sockets {
		_ = os.Remove(socket)
	}
	problems = append(problems, l.removeLogLinks(), l.removeNetworkResults())
	if err := errors.Join(problems...); err != nil {
		return err
	}
	// Neither a program nor a mount may have appeared meanwhile: removing the folder must not reach through a mount
	// into what is not ours.
	if late := l.ownProcesses(); len(late) > 0 {
		return fmt.Errorf("processes %v have appeared", late)
	}
	if late, err := l.mounts(); err != nil || len(late) > 0 {
		return errors.Join(err, fmt.Errorf("mounts %v have appeared", late))
	}
	return errors.Join(l.deleteNetwork(), os.RemoveAll(l.Root))
}

// container is one of containerd's, a pod's sandbox too, as its bundle on disk tells.
type container struct {
	id     string
	socket string // of its shim, below /run/containerd whatever containerd's own folders are
}

func (l Layout) containers() []container {
	bundles, _ := filepath.Glob(l.file("containerd", "state", "io.containerd.runtime.v2.task", "k8s.io", "*"))
	var all []container
	for _, bundle := range bundles {
		each := container{id: filepath.Base(bundle)}
		if text, err := os.ReadFile(filepath.Join(bundle, "bootstrap.json")); err == nil {
			var bootstrap struct{ Address string }
			_ = json.Unmarshal(text, &bootstrap)
			each.socket = strings.TrimPrefix(bootstrap.Address, "unix://")
		}
		all = append(all, each)
	}
	return all
}

// Where the kernel shows cgroups; tests look elsewhere.
var cgroups = "/sys/fs/cgroup"

// groups are the container's cgroups: below k8s.io where kubelet makes none for pods, below kubepods where it does; in
// each hierarchy of version 1, or in the one of version 2.
func (c container) groups() []string {
	var all []string
	for _, hierarchy := range []string{"", "*"} {
		for _, parent := range []string{"k8s.io", "kubepods/*", "kubepods/*/*"} {
			found, _ := filepath.Glob(filepath.Join(cgroups, hierarchy, parent, c.id))
			all = append(all, found...)
		}
	}
	return all
}

// kill ends all processes of the container. Its cgroups tell them, also one that runc was just starting and that nobody
// has noted yet.
func (c container) kill() error {
	alive := 0
	for _, group := range c.groups() {
		text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		for _, line := range lines(text) {
			// 0 is a process of another process namespace, which we could not name.
			if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
				alive++
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if alive > 0 {
		return fmt.Errorf("processes of container %.12s have not ended yet", c.id)
	}
	return nil
}

// forget removes what runc, the shim and the network plugins keep outside our folder.
func (c container) forget() error {
	if strings.HasPrefix(c.socket, shimSocketFolder) {
		_ = os.Remove(c.socket)
	}
	var problems []error
	for _, group := range c.groups() {
		if err := os.Remove(group); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err)
			continue
		}
		if pod := filepath.Dir(group); strings.HasPrefix(filepath.Base(pod), "pod") {
			_ = os.Remove(pod) // kubelet's for the pod; the last of its containers takes it along
		}
	}
	return errors.Join(problems...)
}

const shimSocketFolder = "/run/containerd/s/"

// shimSockets are those that shims in the network namespace of the processes listen on: also one whose bundle does not
// name it yet.
func shimSockets(pids []int) []string {
	for _, pid := range pids {
		// The kernel lists the sockets of the process's network namespace.
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", pid)); err == nil {
			return socketsIn(text)
		}
	}
	return nil
}

func socketsIn(table []byte) []string {
	var found []string
	for _, line := range lines(table) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[len(fields)-1], shimSocketFolder) {
			found = append(found, fields[len(fields)-1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Where the network plugins note what they did for each pod; it cannot be configured. Tests look elsewhere.
var networkResults = "/var/lib/cni/results"

// removeNetworkResults removes the notes on our pods: they name the pod's network namespace, which is in our folder.
func (l Layout) removeNetworkResults() error {
	results, _ := filepath.Glob(networkResults + "/*")
	var problems []error
	for _, result := range results {
		text, err := os.ReadFile(result)
		if err != nil || !bytes.Contains(text, []byte(`"netns":"`+l.Root+"/")) {
			continue
		}
		if err := os.Remove(result); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// removeParents takes away the folders and cgroups that held what was ours, if nothing of anybody else's is in them.
func removeParents() {
	// kubelet's, wherever its --root-dir is. Nobody answers on it now, unless it is another kubelet's.
	if plugins := "/var/lib/kubelet/device-plugins/kubelet.sock"; !answers(plugins) {
		_ = os.Remove(plugins)
	}
	for _, pattern := range []string{
		cgroups + "/k8s.io", cgroups + "/*/k8s.io", "/run/containerd/s", "/run/containerd",
		networkResults, "/var/lib/cni", "/var/lib/kubelet/device-plugins", "/var/lib/kubelet", "/var/log/containers",
	} {
		found, _ := filepath.Glob(pattern)
		for _, each := range found {
			_ = os.Remove(each) // rmdir: fails on what is not empty
		}
	}
}

func answers(socket string) bool {
	connection, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		_ = connection.Close()
	}
	return err == nil
}

// removeLogLinks removes kubelet's links to pod logs; their folder cannot be configured.
func (l Layout) removeLogLinks() error {
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && within(target, l.Root) {
			if err := os.Remove(link); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmount releases every mount below the folder, the latest first.
func (l Layout) unmount() error {
	below, err := l.mounts()
	for _, each := range slices.Backward(below) {
		if err := syscall.Unmount(each, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", each, err)
		}
	}
	return err
}

// mounts are the mount points below the folder, and the folder itself if it is one, in the order they were made.
func (l Layout) mounts() ([]string, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var below []string
	for _, line := range lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 && within(unescape.Replace(fields[1]), l.Root) {
			below = append(below, unescape.Replace(fields[1]))
		}
	}
	return below, nil
}

// unescape turns the kernel's way of writing a path back into the path.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(relative)
}

func lines(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}
