package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Down stops everything that Up started and removes its files. It is safe to call at any time, and after a run that
// died: it goes by what is there, not by what was noted. What was just being started, or has not ended yet, shows up
// at the next look, so it looks until nothing is left.
func (l Layout) Down(progress io.Writer) error {
	began := time.Now()
	_, missing := os.Stat(l.Root)
	seen := map[string]container{}
	if err := eventually(time.Minute, func() error { return l.sweep(seen) }); err != nil {
		return fmt.Errorf("cluster down: %w", err)
	}
	removeParents()
	if missing == nil {
		fmt.Fprintf(progress, "  cluster is down    %5.1f s\n", time.Since(began).Seconds())
	}
	return nil
}

// sweep is one look of Down. It remembers the containers, because the files that tell of them go away before what
// they keep elsewhere does.
func (l Layout) sweep(seen map[string]container) error {
	// The programs go first: none of them may start a container while containers are being killed. The network, by
	// which they are found, stays until they have ended.
	if err := l.killAll(); err != nil {
		return err
	}
	for _, each := range l.containers() {
		seen[each.id] = each
	}
	for _, each := range seen {
		each.kill()
	}
	problems := []error{l.unmount(), l.deleteNetwork()}
	for _, each := range seen {
		problems = append(problems, each.forget())
	}
	problems = append(problems, l.removeLogLinks())
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return os.RemoveAll(l.Root)
}

// container is one of containerd's, a pod's sandbox too, as its bundle on disk tells.
type container struct {
	id     string
	init   int    // process id in our view
	socket string // of its shim, below /run/containerd whatever containerd's own folders are
}

func (l Layout) containers() []container {
	bundles, _ := filepath.Glob(l.file("containerd", "state", "io.containerd.runtime.v2.task", "k8s.io", "*"))
	var all []container
	for _, bundle := range bundles {
		each := container{id: filepath.Base(bundle)}
		if text, err := os.ReadFile(filepath.Join(bundle, "init.pid")); err == nil {
			each.init, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if text, err := os.ReadFile(filepath.Join(bundle, "bootstrap.json")); err == nil {
			var bootstrap struct{ Address string }
			_ = json.Unmarshal(text, &bootstrap)
			each.socket = strings.TrimPrefix(bootstrap.Address, "unix://")
		}
		all = append(all, each)
	}
	return all
}

// kill ends the container's first process, and with it all others of its process namespace. The cgroup proves that
// the process is the container's.
func (c container) kill() {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.init))
	if c.init > 1 && err == nil && strings.Contains(string(groups), c.id) {
		_ = syscall.Kill(c.init, syscall.SIGKILL)
	}
}

// forget removes what runc, the shim and the network plugins keep outside our folder.
func (c container) forget() error {
	if strings.HasPrefix(c.socket, "/run/containerd/s/") {
		_ = os.Remove(c.socket)
	}
	results, _ := filepath.Glob("/var/lib/cni/results/*-" + c.id + "-*")
	for _, result := range results {
		_ = os.Remove(result)
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/k8s.io/" + c.id)
	if unified, _ := filepath.Glob("/sys/fs/cgroup/k8s.io/" + c.id); unified != nil {
		groups = append(groups, unified...)
	}
	var problems []error
	for _, group := range groups {
		if err := os.Remove(group); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err) // its processes have not all ended yet
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
		"/sys/fs/cgroup/k8s.io", "/sys/fs/cgroup/*/k8s.io", "/run/containerd/s", "/run/containerd",
		"/var/lib/cni/results", "/var/lib/cni", "/var/lib/kubelet/device-plugins", "/var/lib/kubelet", "/var/log/containers",
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
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	below := lines(table)
	for index := len(below) - 1; index >= 0; index-- {
		fields := strings.Fields(below[index])
		if len(fields) < 2 || !within(fields[1], l.Root) {
			continue
		}
		if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", fields[1], err)
		}
	}
	return nil
}

func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(relative)
}

func lines(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}
