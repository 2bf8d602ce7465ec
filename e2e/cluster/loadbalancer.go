package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"portcullis.dev/e2e/kube"
)

// The addresses that Services of type LoadBalancer are given. kube-proxy does the rest.
var loadBalancerRange = netip.MustParsePrefix("172.30.1.0/24")

const (
	// UsableAddress is kept for whoever asks for it by name, as the suite's GatewayStaticAddresses does.
	UsableAddress = "172.30.1.250"
	// UnusableAddress lies outside the range: a Service that asks for it stays without an address.
	UnusableAddress = "172.30.2.1"
)

func (l Layout) startLoadBalancer() error {
	return l.start("load-balancer", l.file("run", "cluster"), "load-balancer", "--root="+l.Root)
}

type service struct {
	Metadata struct {
		Namespace, Name, ResourceVersion string
	}
	Spec struct {
		Type           string
		LoadBalancerIP string `json:"loadBalancerIP"`
	}
	Status struct {
		LoadBalancer struct {
			Ingress []struct {
				IP string `json:"ip"`
			}
		} `json:"loadBalancer"`
	}
}

func (s service) address() string {
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return ""
	}
	return s.Status.LoadBalancer.Ingress[0].IP
}

// BalanceLoads gives every Service of type LoadBalancer an address until the context ends, whatever its ports and their
// protocols: the one it asks for, if that lies in the range and is free, else the next free one. A request outside the
// range stays pending. It must run inside the namespace.
func (l Layout) BalanceLoads(ctx context.Context) error {
	client, err := l.Client()
	if err != nil {
		return err
	}
	var turn turn
	for ctx.Err() == nil {
		if err := balance(ctx, client, &turn); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "load balancer:", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// balance settles all Services, then waits for the next change of one.
func balance(ctx context.Context, client *kube.Client, turn *turn) error {
	var list struct {
		Metadata struct{ ResourceVersion string }
		Items    []service
	}
	if err := client.Get(ctx, "/api/v1/services", &list); err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, each := range list.Items {
		if each.Spec.Type == "LoadBalancer" {
			taken[each.address()] = true
		}
	}
	var problems []error
	for _, each := range list.Items {
		wanted := settle(each, taken, turn)
		if wanted == each.address() {
			continue
		}
		taken[wanted] = true
		problems = append(problems, setIngress(ctx, client, each, wanted))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	watch := "/api/v1/services?watch=1&timeoutSeconds=300&resourceVersion=" + list.Metadata.ResourceVersion
	return client.Watch(ctx, watch, func(kube.Event) bool { return true })
}

// turn hands free addresses out one after the other. One that was just given back comes last: clients of the Service
// that had it, and the rules of the node for it, may be there for a moment yet.
type turn struct{ last netip.Addr }

// next is "" if no address is free.
func (t *turn) next(taken map[string]bool) string {
	address := t.last
	for range 1 << (32 - loadBalancerRange.Bits()) {
		if address = address.Next(); !loadBalancerRange.Contains(address) {
			address = loadBalancerRange.Addr().Next()
		}
		// The last address of a range is its broadcast address.
		last := !loadBalancerRange.Contains(address.Next())
		if !last && !taken[address.String()] && address.String() != UsableAddress {
			t.last = address
			return address.String()
		}
	}
	return ""
}

// settle is the address that a Service should have.
func settle(each service, taken map[string]bool, turn *turn) string {
	asked := each.Spec.LoadBalancerIP
	switch {
	case each.Spec.Type != "LoadBalancer":
		return ""
	case each.address() != "" && (asked == "" || asked == each.address()):
		return each.address()
	case asked == "":
		return turn.next(taken)
	}
	address, err := netip.ParseAddr(asked)
	if err != nil || !loadBalancerRange.Contains(address) || taken[asked] {
		return ""
	}
	return asked
}

func setIngress(ctx context.Context, client *kube.Client, target service, address string) error {
	ingress := []map[string]string{}
	if address != "" {
		ingress = append(ingress, map[string]string{"ip": address, "ipMode": "VIP"})
	}
	path := fmt.Sprintf("/api/v1/namespaces/%s/services/%s/status", target.Metadata.Namespace, target.Metadata.Name)
	err := client.Merge(ctx, path, map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}})
	if kube.IsNotFound(err) {
		return nil
	}
	return err
}

// Client speaks to the cluster as administrator, from inside the namespace.
func (l Layout) Client() (*kube.Client, error) {
	pki := func(name string) string { return l.file("pki", name) }
	return kube.New("https://"+NodeAddress+":"+apiPort, pki("ca.crt"), pki("admin.crt"), pki("admin.key"))
}
