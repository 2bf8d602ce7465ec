package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The addresses that Services of type LoadBalancer are given. kube-proxy does the rest.
var (
	loadBalancerRange = netip.MustParsePrefix("172.30.1.0/24")
	// UsableAddress and UnusableAddress are what the suite's GatewayStaticAddresses asks for.
	UsableAddress   = "172.30.1.250"
	UnusableAddress = "172.30.2.1"
)

func (l Layout) startLoadBalancer() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	return l.start("load-balancer", nil, own, "load-balancer", "--root="+l.Root)
}

type service struct {
	Metadata struct {
		Namespace, Name string
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

// BalanceLoads gives every Service of type LoadBalancer an address until the context ends: the one it asks for, if
// that lies in the range and is free, else the lowest free one. A request outside the range stays pending.
func (l Layout) BalanceLoads(ctx context.Context) error {
	for {
		if err := l.balanceOnce(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "load balancer:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (l Layout) balanceOnce(ctx context.Context) error {
	services, err := l.listServices(ctx)
	if err != nil {
		return err
	}
	taken := map[string]bool{UsableAddress: true}
	for _, each := range services {
		for _, ingress := range each.Status.LoadBalancer.Ingress {
			taken[ingress.IP] = true
		}
	}
	for _, each := range services {
		given := len(each.Status.LoadBalancer.Ingress) > 0
		switch {
		case each.Spec.Type != "LoadBalancer" && given:
			err = l.setIngress(ctx, each, "")
		case each.Spec.Type == "LoadBalancer" && !given:
			if address := choose(each.Spec.LoadBalancerIP, taken); address != "" {
				taken[address] = true
				err = l.setIngress(ctx, each, address)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func choose(asked string, taken map[string]bool) string {
	if asked != "" {
		address, err := netip.ParseAddr(asked)
		if err != nil || !loadBalancerRange.Contains(address) || (taken[asked] && asked != UsableAddress) {
			return ""
		}
		return asked
	}
	for address := loadBalancerRange.Addr().Next(); loadBalancerRange.Contains(address); address = address.Next() {
		if !taken[address.String()] {
			return address.String()
		}
	}
	return ""
}

func (l Layout) listServices(ctx context.Context) ([]service, error) {
	output, err := l.api(ctx, "get", "--raw", "/api/v1/services")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []service }
	return list.Items, json.Unmarshal(output, &list)
}

func (l Layout) setIngress(ctx context.Context, target service, address string) error {
	ingress := "[]"
	if address != "" {
		ingress = fmt.Sprintf(`[{"ip":%q,"ipMode":"VIP"}]`, address)
	}
	_, err := l.api(ctx, "patch", "service", target.Metadata.Name, "-n", target.Metadata.Namespace,
		"--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":`+ingress+`}}}`)
	return err
}

// api is a kubectl call from a process that already runs inside the namespace.
func (l Layout) api(ctx context.Context, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, l.program("kubectl"), append([]string{"--kubeconfig=" + l.Kubeconfig()}, args...)...)
	output, err := command.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return nil, fmt.Errorf("kubectl %s: %s", strings.Join(args[:2], " "), strings.TrimSpace(string(exit.Stderr)))
	}
	return output, err
}

func lines(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}
