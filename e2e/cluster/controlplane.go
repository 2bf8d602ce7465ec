package cluster

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

func (l Layout) startControlPlane() error {
	if err := l.start("etcd", l.program("etcd"),
		"--name=e2e", "--data-dir="+l.file("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=e2e=http://127.0.0.1:2380", "--log-level=warn",
	); err != nil {
		return err
	}
	pki := func(name string) string { return l.file("pki", name) }
	if err := l.start("kube-apiserver", l.program("kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379", "--advertise-address="+NodeAddress, "--bind-address=0.0.0.0",
		"--secure-port="+apiPort, "--service-cluster-ip-range="+serviceRange, "--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file="+pki("ca.crt"), "--tls-cert-file="+pki("apiserver.crt"),
		"--tls-private-key-file="+pki("apiserver.key"),
		"--kubelet-client-certificate="+pki("apiserver-kubelet.crt"),
		"--kubelet-client-key="+pki("apiserver-kubelet.key"), "--kubelet-certificate-authority="+pki("ca.crt"),
		// Without it, logs and exec try to resolve the node's name.
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file="+pki("service-accounts.key"),
		"--service-account-signing-key-file="+pki("service-accounts.key"),
		"--service-account-issuer=https://kubernetes.default.svc."+clusterDomain,
	); err != nil {
		return err
	}
	if err := l.waitFor("kube-apiserver", 90*time.Second, l.apiReady); err != nil {
		return err
	}
	if err := l.start("kube-controller-manager", l.program("kube-controller-manager"),
		"--kubeconfig="+pki("controller-manager.kubeconfig"), "--leader-elect=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file="+pki("service-accounts.key"),
		"--root-ca-file="+pki("ca.crt"), "--cluster-signing-cert-file="+pki("ca.crt"),
		"--cluster-signing-key-file="+pki("ca.key"), "--allocate-node-cidrs=true", "--cluster-cidr="+podRange+","+podRange6,
		"--node-cidr-mask-size-ipv4="+nodePodBits, "--node-cidr-mask-size-ipv6="+nodePodBits6,
		// A suite makes and deletes a hundred Gateways in a few minutes; by default a controller asks 20 times a second.
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--service-cluster-ip-range="+serviceRange, "--bind-address=127.0.0.1",
	); err != nil {
		return err
	}
	return l.start("kube-scheduler", l.program("kube-scheduler"),
		"--kubeconfig="+pki("scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1")
}

func (l Layout) apiReady() error {
	output, err := l.Kubectl("get", "--raw", "/readyz").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the API server is not ready: %s", strings.TrimSpace(string(output)))
	}
	return nil
}

// Kubectl is a kubectl call as administrator, inside the namespace.
func (l Layout) Kubectl(args ...string) *exec.Cmd {
	command := append(l.Enter(), l.program("kubectl"), "--kubeconfig="+l.Kubeconfig())
	command = append(command, args...)
	return exec.Command(command[0], command[1:]...)
}

func (l Layout) kubectl(args ...string) error {
	if output, err := l.Kubectl(args...).CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}
