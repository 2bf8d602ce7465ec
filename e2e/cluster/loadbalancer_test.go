package cluster

import (
	"fmt"
	"testing"
)

func TestSettle(t *testing.T) {
	given := func(kind, asked, has string) service {
		var each service
		each.Spec.Type, each.Spec.LoadBalancerIP = kind, asked
		if has != "" {
			each.Status.LoadBalancer.Ingress = append(each.Status.LoadBalancer.Ingress, struct {
				IP string `json:"ip"`
			}{has})
		}
		return each
	}
	taken := map[string]bool{"172.30.1.1": true, "172.30.1.7": true}
	for name, test := range map[string]struct {
		service service
		want    string
	}{
		"the next free one":             {given("LoadBalancer", "", ""), "172.30.1.2"},
		"keeps what it has":             {given("LoadBalancer", "", "172.30.1.7"), "172.30.1.7"},
		"the one asked for":             {given("LoadBalancer", UsableAddress, ""), UsableAddress},
		"asked for another than it has": {given("LoadBalancer", UsableAddress, "172.30.1.7"), UsableAddress},
		"taken":                         {given("LoadBalancer", "172.30.1.1", ""), ""},
		"outside the range":             {given("LoadBalancer", UnusableAddress, ""), ""},
		"outside, gives back":           {given("LoadBalancer", UnusableAddress, "172.30.1.7"), ""},
		"no longer a load balancer":     {given("ClusterIP", "", "172.30.1.7"), ""},
		"not an address":                {given("LoadBalancer", "gateway.example", ""), ""},
	} {
		if got := settle(test.service, taken, &turn{}); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestAnAddressThatWasGivenBackComesLast(t *testing.T) {
	var turn turn
	taken := map[string]bool{}
	given := map[string]bool{}
	for range 252 { // .1 to .254 without the one that is kept, and one that stays taken
		taken["172.30.1.9"] = true
		address := turn.next(taken)
		if given[address] || address == "" || address == UsableAddress || address == "172.30.1.255" || address == "172.30.1.9" {
			t.Fatalf("%q was given after %d", address, len(given))
		}
		given[address] = true // and given back at once
	}
	if got := turn.next(taken); got != "172.30.1.1" {
		t.Errorf("after a whole turn: %q", got)
	}
	for last := range 256 {
		taken[fmt.Sprintf("172.30.1.%d", last)] = true
	}
	if got := turn.next(taken); got != "" {
		t.Errorf("none is free, but %q was given", got)
	}
}
