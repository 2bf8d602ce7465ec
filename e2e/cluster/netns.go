package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// createNetwork makes the namespace with one bridge as the node's interface (this kind of kernel may lack the dummy
// device) and a default route that leads nowhere.
func (l Layout) createNetwork() error {
	if err := run("ip", "netns", "add", l.Name); err != nil {
		return err
	}
	for _, command := range []string{
		"ip link set lo up",
		"ip link add " + nodeName + " type bridge",
		"ip addr add " + NodeAddress + "/24 dev " + nodeName,
		"ip link set " + nodeName + " up",
		"ip route add default dev " + nodeName,
		"ip -6 addr add " + nodeAddress6 + "/64 dev " + nodeName + " nodad",
		"ip -6 route add default dev " + nodeName,
		"sysctl -qw net.ipv6.conf.all.forwarding=1",
		"sysctl -qw net.ipv4.ip_forward=1",
		"sysctl -qw net.ipv4.conf.all.rp_filter=0",
	} {
		if err := l.runInside(strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

func (l Layout) deleteNetwork() error {
	if _, err := os.Stat(l.netns()); os.IsNotExist(err) {
		return nil
	}
	problem := run("ip", "netns", "delete", l.Name)
	if problem == nil {
		return nil
	}
	// A name that was mounted over, or never mounted, is busy or unknown to ip: one layer is taken off at each look.
	_ = syscall.Unmount(l.netns(), syscall.MNT_DETACH)
	if err := os.Remove(l.netns()); err != nil && !os.IsNotExist(err) {
		return errors.Join(problem, err)
	}
	return nil
}

// runInside runs a command in the namespace and waits for it.
func (l Layout) runInside(command ...string) error {
	enter := append(l.Enter(), command...)
	return run(enter[0], enter[1:]...)
}

func run(name string, args ...string) error {
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
