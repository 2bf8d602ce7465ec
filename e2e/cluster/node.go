package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// cniPlugins is where Debian's containernetworking-plugins puts them.
const cniPlugins = "/usr/lib/cni"

func (l Layout) startContainerd() error {
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
[grpc]
  address = %q
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  # Below our folder, so that tear-down finds the pods' network namespaces.
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%q]
    conf_dir = %q
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = %q
`, l.file("containerd", "root"), l.file("containerd", "state"), l.ContainerdSocket(), cniPlugins, l.file("cni"), l.file("runc"))
	network := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "e2e", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}], [{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}], "dataDir": %q}}]}
`, nodePodRange, nodePodRange6, l.file("cni", "data"))
	if err := os.WriteFile(l.file("containerd", "config.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(l.file("cni", "10-e2e.conflist"), []byte(network), 0o644); err != nil {
		return err
	}
	if err := l.start("containerd", l.program("containerd"), "--config", l.file("containerd", "config.toml")); err != nil {
		return err
	}
	return l.waitFor("containerd", 30*time.Second, func() error {
		return run(l.program("ctr"), "--address", l.ContainerdSocket(), "version")
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
podLogsDir: %s
volumePluginDir: %s
cgroupDriver: cgroupfs
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: 50Mi, nodefs.available: "1%%", nodefs.inodesFree: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
maxPods: 400
registerNode: true
syncFrequency: 10s
serializeImagePulls: false
`, l.file("pki", "ca.crt"), l.file("pki", "kubelet.crt"), l.file("pki", "kubelet.key"),
		NodeAddress, clusterDomain, l.file("kubelet", "resolv.conf"), l.ContainerdSocket(),
		l.file("kubelet", "logs"), l.file("kubelet", "plugins"))
	if cgroupV1() {
		config += "failCgroupV1: false\ncgroupsPerQOS: false\nenforceNodeAllocatable: []\n"
	}
	if err := os.WriteFile(l.file("kubelet", "config.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := l.start("kubelet", l.program("kubelet"),
		"--config="+l.file("kubelet", "config.yaml"), "--kubeconfig="+l.file("pki", "kubelet.kubeconfig"),
		"--root-dir="+l.file("kubelet", "root"), "--hostname-override="+nodeName, "--node-ip="+NodeAddress+","+nodeAddress6,
	); err != nil {
		return err
	}
	return l.waitFor("kubelet", 90*time.Second, l.nodeReady)
}

func (l Layout) nodeReady() error {
	output, err := l.Kubectl("get", "node", nodeName,
		"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`).CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != "True" {
		return fmt.Errorf("node is not Ready: %s", strings.TrimSpace(string(output)))
	}
	return nil
}

func (l Layout) startProxy() error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s}
mode: nftables
nftables: {minSyncPeriod: 200ms}
clusterCIDR: %s
hostnameOverride: %s
conntrack: {maxPerCore: 0}
metricsBindAddress: 127.0.0.1:10249
`, l.file("pki", "proxy.kubeconfig"), podRange+","+podRange6, nodeName)
	if err := os.WriteFile(l.file("proxy.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := l.start("kube-proxy", l.program("kube-proxy"), "--config="+l.file("proxy.yaml")); err != nil {
		return err
	}
	return l.waitFor("kube-proxy", 30*time.Second, func() error {
		return l.runInside("nft", "list", "chain", "ip", "kube-proxy", "services")
	})
}

// startDNS runs CoreDNS as a process on the node's address, where kubelet points every pod.
func (l Layout) startDNS() error {
	corefile := fmt.Sprintf(`%[1]s:53 in-addr.arpa:53 {
  bind %[2]s
  errors
  kubernetes %[1]s in-addr.arpa {
    kubeconfig %[3]s e2e
    pods insecure
    ttl 5
  }
}
# Nothing else has a name here: say so at once, as the world's servers would.
.:53 {
  bind %[2]s
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`, clusterDomain, NodeAddress, l.file("pki", "dns.kubeconfig"))
	if err := os.WriteFile(l.file("Corefile"), []byte(corefile), 0o644); err != nil {
		return err
	}
	if err := l.start("coredns", l.program("coredns"), "-conf", l.file("Corefile")); err != nil {
		return err
	}
	return l.waitFor("coredns", 30*time.Second, func() error {
		return l.runInside(l.file("run", "cluster"), "resolve", "kubernetes.default.svc."+clusterDomain)
	})
}

func cgroupV1() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return errors.Is(err, os.ErrNotExist)
}
