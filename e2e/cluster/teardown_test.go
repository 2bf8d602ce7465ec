package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elsewhere is a cluster's folder with nothing running, under a name that no cluster has.
func elsewhere(t *testing.T) Layout {
	t.Helper()
	return Layout{Name: "portcullis-e2e-unit-test", Root: filepath.Join(t.TempDir(), "root"), Bin: t.TempDir()}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A network plugin whose containerd is gone goes on writing into the folder: it is found by what it inherited, ended,
// and the folder removed although files appeared while it was being walked.
func TestWhatGoesOnWritingIsEndedFirst(t *testing.T) {
	layout := elsewhere(t)
	write(t, layout.file("cni", "data", "0"), "")
	plugin := exec.Command("sh", "-c", `n=0; while :; do n=$((n + 1)); mkdir -p "cni/$n"; : >"cni/$n/file"; done`)
	plugin.Dir, plugin.Env = layout.Root, []string{"HOME=" + layout.Root, "PATH=" + os.Getenv("PATH")}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- plugin.Wait() }()
	if err := layout.clear(time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(layout.Root); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the plugin still runs")
	}
}

func TestOnlyWhatTheClusterStartedDescendsFromIt(t *testing.T) {
	layout := Layout{Root: "/var/lib/portcullis-e2e"}
	for environment, want := range map[string]bool{
		"PATH=/bin\x00HOME=/var/lib/portcullis-e2e\x00CNI_COMMAND=ADD\x00": true,
		"HOME=/root\x00OLDHOME=/var/lib/portcullis-e2e\x00":                false,
		"HOME=/var/lib/portcullis-e2e-two\x00":                             false,
		"PWD=/var/lib/portcullis-e2e\x00":                                  false,
		"":                                                                 false,
	} {
		if got := layout.descends([]byte(environment)); got != want {
			t.Errorf("%q: %v", environment, got)
		}
	}
}

// What runc was just starting is in the container's cgroups before anybody has noted its process id.
func TestAContainerIsEndedByItsCgroups(t *testing.T) {
	layout, id := elsewhere(t), strings.Repeat("ab", 32)
	before := cgroups
	cgroups = t.TempDir()
	t.Cleanup(func() { cgroups = before })
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	write(t, layout.file("containerd", "state", "io.containerd.runtime.v2.task", "k8s.io", id, "bootstrap.json"),
		`{"version": 3, "address": "unix:///run/containerd/s/none", "protocol": "ttrpc"}`)
	busy := []string{
		filepath.Join(cgroups, "memory", "k8s.io", id), filepath.Join(cgroups, "unified", "k8s.io", id),
		filepath.Join(cgroups, "kubepods", "burstable", "pod1", id),
	}
	for _, group := range busy {
		write(t, filepath.Join(group, "cgroup.procs"), "")
	}
	write(t, filepath.Join(busy[0], "cgroup.procs"), strings.Join([]string{"0", "1", strconv.Itoa(victim.Process.Pid)}, "\n")+"\n")

	found := layout.containers()
	if len(found) != 1 || found[0] != (container{id: id, socket: "/run/containerd/s/none"}) {
		t.Fatalf("found %+v", found)
	}
	if groups := found[0].groups(); len(groups) != len(busy) {
		t.Errorf("its cgroups: %v", groups)
	}
	if err := found[0].kill(); err == nil {
		t.Error("a process was still there")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the process still runs")
	}
	// A real cgroup cannot be removed while it has processes; a folder while it has files.
	if err := found[0].forget(); err == nil {
		t.Error("busy cgroups must be told")
	}
	for _, group := range busy {
		if err := os.Remove(filepath.Join(group, "cgroup.procs")); err != nil {
			t.Fatal(err)
		}
	}
	if err := found[0].kill(); err != nil {
		t.Error(err)
	}
	if err := found[0].forget(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(cgroups, "kubepods", "burstable", "pod1")); !os.IsNotExist(err) {
		t.Errorf("the pod's own cgroup is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cgroups, "kubepods", "burstable")); err != nil {
		t.Errorf("a cgroup that may be another kubelet's was removed: %v", err)
	}
}

// Removing the folder must not reach through a mount.
func TestMountsAreReleasedBeforeTheFolderIsRemoved(t *testing.T) {
	layout, outside := elsewhere(t), t.TempDir()
	write(t, filepath.Join(outside, "precious"), "kept")
	for _, target := range []string{layout.file("kubelet", "a volume"), layout.file("run")} {
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(outside, target, "", syscall.MS_BIND, ""); err != nil {
			t.Skipf("this account cannot mount: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) })
	}
	want := []string{layout.file("kubelet", "a volume"), layout.file("run")}
	if mounts, err := layout.mounts(); err != nil || !slices.Equal(mounts, want) {
		t.Fatalf("mounts %v, %v", mounts, err)
	}
	if err := layout.clear(time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(layout.Root); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "precious")); err != nil || string(text) != "kept" {
		t.Errorf("what was mounted: %q, %v", text, err)
	}
}

func TestNotesOfTheNetworkPluginsGoWithThePod(t *testing.T) {
	layout, before := Layout{Root: "/var/lib/portcullis-e2e"}, networkResults
	networkResults = t.TempDir()
	t.Cleanup(func() { networkResults = before })
	note := func(name, netns string) string {
		path := filepath.Join(networkResults, name)
		write(t, path, `{"kind":"cniCacheV1","containerId":"ab","ifName":"lo","netns":"`+netns+`"}`)
		return path
	}
	ours := note("cni-loopback-ab-lo", "/var/lib/portcullis-e2e/containerd/state/netns/cni-1")
	theirs := []string{note("cni-loopback-cd-lo", "/run/netns/cni-2"), note("e2e-ef-eth0", "/var/lib/portcullis-e2e-two/netns/cni-3")}
	if err := layout.removeNetworkResults(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ours); !os.IsNotExist(err) {
		t.Errorf("ours is still there: %v", err)
	}
	for _, path := range theirs {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestSocketsOfShims(t *testing.T) {
	table := `Num       RefCount Protocol Flags    Type St Inode Path
000000005f1: 00000002 00000000 00010000 0001 01 101 /run/containerd/s/0a1b
000000005f2: 00000003 00000000 00000000 0001 03 102 /run/containerd/s/0a1b
000000005f3: 00000003 00000000 00000000 0001 03 103
000000005f4: 00000002 00000000 00010000 0001 01 104 /var/lib/portcullis-e2e/containerd/containerd.sock
`
	if got := socketsIn([]byte(table)); !slices.Equal(got, []string{"/run/containerd/s/0a1b"}) {
		t.Errorf("got %v", got)
	}
}
