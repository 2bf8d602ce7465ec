package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func (l Layout) startNode() error {
	if err := l.startContainerd(); err != nil {
		return err
	}
	if err := l.importPause(); err != nil {
		return err
	}
	if err := l.startKubelet(); err != nil {
		return err
	}
	if err := l.startProxy(); err != nil {
		return err
	}
	return l.startDNS()
}

func (l Layout) startContainerd() error {
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
[grpc]
  address = %q
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = %q
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
`, l.file("containerd", "root"), l.file("containerd", "state"), l.containerdSocket(), l.file("cni"))
	network := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "e2e", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": %q}}]}
`, nodePodRange, l.file("cni", "data"))
	if err := os.WriteFile(l.file("containerd", "config.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(l.file("cni", "10-e2e.conflist"), []byte(network), 0o644); err != nil {
		return err
	}
	// The shim is found on the PATH of containerd.
	path := []string{"PATH=" + l.Bin + ":" + os.Getenv("PATH")}
	if err := l.start("containerd", path, l.program("containerd"),
		"--config", l.file("containerd", "config.toml")); err != nil {
		return err
	}
	return l.waitFor("containerd", 30*time.Second, func() error {
		return run(l.program("ctr"), "--address", l.containerdSocket(), "version")
	})
}

func (l Layout) startKubelet() error {
	resolv := "nameserver " + NodeAddress + "\n"
	if err := os.WriteFile(l.file("kubelet", "resolv.conf"), []byte(resolv), 0o644); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
tlsCertFile: %s
tlsPrivateKeyFile: %s
clusterDNS: [%s]
clusterDomain: %s
resolvConf: %s
containerRuntimeEndpoint: unix://%s
cgroupDriver: cgroupfs
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: 50Mi, nodefs.available: "1%%", nodefs.inodesFree: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
maxPods: 200
registerNode: true
syncFrequency: 10s
serializeImagePulls: false
`, l.file("pki", "ca.crt"), l.file("pki", "kubelet.crt"), l.file("pki", "kubelet.key"),
		NodeAddress, clusterDomain, l.file("kubelet", "resolv.conf"), l.containerdSocket())
	if cgroupV1() {
		config += "failCgroupV1: false\ncgroupsPerQOS: false\nenforceNodeAllocatable: []\n"
	}
	if err := os.WriteFile(l.file("kubelet", "config.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	path := []string{"PATH=" + l.Bin + ":" + os.Getenv("PATH")}
	if err := l.start("kubelet", path, l.program("kubelet"),
		"--config="+l.file("kubelet", "config.yaml"), "--kubeconfig="+l.file("pki", "kubelet.kubeconfig"),
		"--root-dir="+l.file("kubelet", "root"), "--hostname-override="+nodeName, "--node-ip="+NodeAddress,
	); err != nil {
		return err
	}
	return l.waitFor("kubelet", 90*time.Second, func() error {
		output, err := l.Kubectl("get", "node", nodeName,
			"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`).CombinedOutput()
		if err != nil || strings.TrimSpace(string(output)) != "True" {
			return fmt.Errorf("node is not Ready: %s", strings.TrimSpace(string(output)))
		}
		return nil
	})
}

func (l Layout) startProxy() error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s}
mode: nftables
clusterCIDR: %s
hostnameOverride: %s
conntrack: {maxPerCore: 0}
metricsBindAddress: 127.0.0.1:10249
`, l.file("pki", "proxy.kubeconfig"), podRange, nodeName)
	if err := os.WriteFile(l.file("proxy.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	return l.start("kube-proxy", nil, l.program("kube-proxy"), "--config="+l.file("proxy.yaml"))
}

// startDNS runs CoreDNS as a process on the node's address, where kubelet points every pod.
func (l Layout) startDNS() error {
	corefile := fmt.Sprintf(`.:53 {
  bind %s
  errors
  kubernetes %s in-addr.arpa {
    kubeconfig %s e2e
    pods insecure
    ttl 5
  }
}
`, NodeAddress, clusterDomain, l.file("pki", "dns.kubeconfig"))
	if err := os.WriteFile(l.file("Corefile"), []byte(corefile), 0o644); err != nil {
		return err
	}
	return l.start("coredns", nil, l.program("coredns"), "-conf", l.file("Corefile"))
}

func (l Layout) waitFor(what string, patience time.Duration, ready func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w\n%s", what, err, l.logTail(what))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func cgroupV1() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return errors.Is(err, os.ErrNotExist)
}

// removeCgroups takes away the empty directories that runc and kubelet made for us; it touches no other.
func removeCgroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/k8s.io", "/sys/fs/cgroup/*/k8s.io", "/sys/fs/cgroup/*/kubepods"} {
		found, _ := filepath.Glob(pattern)
		for _, top := range found {
			var below []string
			_ = filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					below = append(below, path)
				}
				return nil
			})
			for index := len(below) - 1; index >= 0; index-- {
				_ = os.Remove(below[index]) // rmdir: fails on a cgroup that is in use, which is then not ours to remove
			}
		}
	}
}
