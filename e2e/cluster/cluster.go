package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Options is what a cluster may differ in.
type Options struct {
	GatewayAPI string // release of the Gateway API CRDs, such as v1.6.3; empty installs none
	Channel    string // standard or experimental
}

func (o Options) String() string {
	if o.GatewayAPI == "" {
		return "no Gateway API"
	}
	return fmt.Sprintf("Gateway API %s, %s channel", o.GatewayAPI, o.Channel)
}

// Up starts the cluster and returns once its node is Ready. One that already runs with the same options is kept; what a
// run that died has left is removed first.
func (l Layout) Up(options Options, progress io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root for its network namespace and mounts: run this as root")
	}
	if err := l.checkTools(); err != nil {
		return err
	}
	if has, up := l.running(); up {
		if has == options {
			fmt.Fprintln(progress, "  cluster is up already")
			return nil
		}
		// An API server takes the CRDs of one release: those of another are refused, or leave things behind.
		fmt.Fprintf(progress, "  the cluster that is up has %s: it is taken down for one with %s\n", has, options)
	}
	if err := l.Down(progress); err != nil {
		return err
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
		{"own program", l.copySelf},
		{"certificates", l.createPKI},
		{"control plane", l.startControlPlane},
		{"Gateway API CRDs", func() error { return l.installCRDs(options) }},
		{"container runtime", l.startContainerd},
		{"images", l.importImages},
		{"node", l.startKubelet},
		{"service proxy", l.startProxy},
		{"DNS", l.startDNS},
		{"load balancer", l.startLoadBalancer},
	} {
		began := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w\nlogs are in %s; `cluster down` removes them", step.name, err, l.file("logs"))
		}
		fmt.Fprintf(progress, "  %-18s %5.1f s\n", step.name, time.Since(began).Seconds())
	}
	record, err := json.Marshal(options)
	if err != nil {
		return err
	}
	return os.WriteFile(l.file("run", "options"), record, 0o644)
}

// copySelf keeps the program that runs inside the namespace: the one that `go run` made is gone as soon as it ends, and
// a rebuild must not disturb it.
func (l Layout) copySelf() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(own)
	if err != nil {
		return err
	}
	return os.WriteFile(l.file("run", "cluster"), program, 0o755)
}

// programs are the processes of a running cluster.
var programs = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy", "coredns",
	"load-balancer",
}

// running is what the cluster has, and whether all of it is up.
func (l Layout) running() (has Options, up bool) {
	record, err := os.ReadFile(l.file("run", "options"))
	if err != nil || json.Unmarshal(record, &has) != nil {
		return has, false
	}
	for _, name := range programs {
		if _, alive := l.alive(name); !alive {
			return has, false
		}
	}
	return has, l.nodeReady() == nil
}

func (l Layout) checkTools() error {
	for _, program := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
		"containerd", "containerd-shim-runc-v2", "ctr", "coredns", "helm", "pause", "backend",
	} {
		if _, err := os.Stat(l.program(program)); err != nil {
			return fmt.Errorf("%s is missing: run e2e/build-tools.sh first", l.program(program))
		}
	}
	for _, program := range []string{"runc", "ip", "nft", "nsenter", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: apt-get install runc iproute2 nftables util-linux procps", program)
		}
	}
	if _, err := os.Stat(cniPlugins + "/bridge"); err != nil {
		return fmt.Errorf("%s/bridge is missing: apt-get install containernetworking-plugins", cniPlugins)
	}
	return nil
}
