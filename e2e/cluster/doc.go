// Package cluster runs a real Kubernetes cluster on one machine, without a container engine: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, containerd, kubelet, kube-proxy and CoreDNS as plain processes inside one
// network namespace that the package makes itself. Nothing in it is a stand-in, and nothing outside the namespace is
// ever dialled.
//
//	netns ─► pki ─► etcd ─► kube-apiserver ─► controller-manager, scheduler
//	                            └─► containerd ─► kubelet (node Ready) ─► kube-proxy, CoreDNS, load balancer
//
// Down stops what Up started, by process id, and a run that died is cleaned up by the next Up.
package cluster
