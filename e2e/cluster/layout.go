package cluster

import (
	"os"
	"path/filepath"
)

// Addresses inside the namespace. They exist nowhere else, so they need not be configurable.
const (
	NodeAddress   = "172.30.0.10"
	nodeAddress6  = "fd00:172:30::10"
	nodeName      = "node0"
	podRange      = "10.244.0.0/16"
	nodePodRange  = "10.244.0.0/22" // more than the node's pods, those that are still ending included
	nodePodBits   = "22"
	podRange6     = "fd00:10:244::/56"
	nodePodRange6 = "fd00:10:244::/64"
	nodePodBits6  = "64"
	// Services have an address of the first unless they ask for both, or for the other.
	serviceRange  = "10.96.0.0/16,fd00:10:96::/112"
	apiServiceIP  = "10.96.0.1"
	clusterDomain = "cluster.local"
	apiPort       = "6443"
)

// Layout says where a cluster keeps its files. One cluster per Layout; two may run side by side only with different
// names, because the name is the network namespace's too.
type Layout struct {
	Name string // network namespace
	Root string // absolute; removed by Down
	Bin  string // folder of the programs that build-tools.sh made
}

// DefaultLayout is the cluster that `make cluster` runs.
func DefaultLayout() Layout {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return Layout{
		Name: "portcullis-e2e",
		Root: "/var/lib/portcullis-e2e",
		Bin:  filepath.Join(cache, "portcullis", "tools", "bin"),
	}
}

// Kubeconfig is the administrator's; its server address is reachable from inside the namespace only.
func (l Layout) Kubeconfig() string { return l.file("pki", "admin.kubeconfig") }

// Enter is the command that runs another one inside the cluster's network namespace. `ip netns exec` would remount
// /sys and hide the cgroup mounts.
func (l Layout) Enter() []string { return []string{"nsenter", "--net=" + l.netns()} }

func (l Layout) netns() string { return "/run/netns/" + l.Name }

func (l Layout) file(parts ...string) string {
	return filepath.Join(append([]string{l.Root}, parts...)...)
}

func (l Layout) program(name string) string { return filepath.Join(l.Bin, name) }

// ContainerdSocket is where the container runtime answers, for ctr.
func (l Layout) ContainerdSocket() string { return l.file("containerd", "containerd.sock") }
