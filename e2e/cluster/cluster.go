package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Up starts the cluster and returns once its node is Ready. What a run that died has left is removed first.
func (l Layout) Up(progress io.Writer) error {
	if err := l.checkTools(); err != nil {
		return err
	}
	if err := l.Down(io.Discard); err != nil {
		return fmt.Errorf("clean up after an earlier run: %w", err)
	}
	for _, folder := range []string{"run", "logs", "pki", "etcd", "containerd", "cni", "kubelet", "images"} {
		if err := os.MkdirAll(l.file(folder), 0o700); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"network namespace", l.createNetwork},
		{"certificates", l.createPKI},
		{"control plane", l.startControlPlane},
		{"node", l.startNode},
		{"load balancer", l.startLoadBalancer},
	} {
		began := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(progress, "  %-18s %5.1f s\n", step.name, time.Since(began).Seconds())
	}
	return nil
}

// Down stops everything that Up started and removes its files. It is safe to call at any time.
func (l Layout) Down(progress io.Writer) error {
	var problems []error
	for _, process := range []string{"load-balancer", "kubelet", "kube-proxy", "coredns"} {
		problems = append(problems, l.stop(process, 10*time.Second))
	}
	l.killContainers()
	for _, process := range []string{"containerd", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"} {
		problems = append(problems, l.stop(process, 10*time.Second))
	}
	problems = append(problems, l.unmount(), l.deleteNetwork())
	removeCgroups()
	if err := errors.Join(problems...); err != nil {
		return err
	}
	fmt.Fprintln(progress, "  cluster is down")
	return os.RemoveAll(l.Root)
}

// killContainers ends the pods that outlive their kubelet: tasks belong to containerd's shims.
func (l Layout) killContainers() {
	if _, err := os.Stat(l.containerdSocket()); err != nil {
		return
	}
	ctr := []string{"--address", l.containerdSocket(), "-n", "k8s.io"}
	list, err := exec.Command(l.program("ctr"), append(ctr, "tasks", "list", "-q")...).Output()
	if err != nil {
		return // containerd is gone already; its shims are ended with the folder's mounts below
	}
	for _, task := range lines(list) {
		_ = run(l.program("ctr"), append(ctr, "tasks", "kill", "-s", "SIGKILL", task)...)
		_ = run(l.program("ctr"), append(ctr, "tasks", "delete", "-f", task)...)
	}
}

// unmount releases every mount below the folder, the deepest first.
func (l Layout) unmount() error {
	table, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return err
	}
	var below []string
	for _, line := range lines(table) {
		var device, at string
		if _, err := fmt.Sscan(line, &device, &at); err == nil && within(at, l.Root) {
			below = append(below, at)
		}
	}
	for index := len(below) - 1; index >= 0; index-- {
		if err := run("umount", "-l", below[index]); err != nil {
			return err
		}
	}
	return nil
}

func (l Layout) checkTools() error {
	for _, program := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
		"containerd", "containerd-shim-runc-v2", "ctr", "coredns", "helm", "pause",
	} {
		if _, err := os.Stat(l.program(program)); err != nil {
			return fmt.Errorf("%s is missing: run e2e/build-tools.sh first", l.program(program))
		}
	}
	for _, program := range []string{"runc", "ip", "nft", "nsenter", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: apt-get install runc iproute2 nftables util-linux", program)
		}
	}
	if _, err := os.Stat("/usr/lib/cni/bridge"); err != nil {
		return errors.New("/usr/lib/cni/bridge is missing: apt-get install containernetworking-plugins")
	}
	return nil
}

func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !filepath.IsAbs(relative) && (len(relative) < 3 || relative[:3] != "../")
}
