package cluster

import "testing"

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
		"the lowest free one":           {given("LoadBalancer", "", ""), "172.30.1.2"},
		"keeps what it has":             {given("LoadBalancer", "", "172.30.1.7"), "172.30.1.7"},
		"the one asked for":             {given("LoadBalancer", UsableAddress, ""), UsableAddress},
		"asked for another than it has": {given("LoadBalancer", UsableAddress, "172.30.1.7"), UsableAddress},
		"taken":                         {given("LoadBalancer", "172.30.1.1", ""), ""},
		"outside the range":             {given("LoadBalancer", UnusableAddress, ""), ""},
		"outside, gives back":           {given("LoadBalancer", UnusableAddress, "172.30.1.7"), ""},
		"no longer a load balancer":     {given("ClusterIP", "", "172.30.1.7"), ""},
		"not an address":                {given("LoadBalancer", "gateway.example", ""), ""},
	} {
		if got := settle(test.service, taken); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
