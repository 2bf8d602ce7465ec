package scenarios

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"portcullis.dev/e2e/load"
)

// A platform team owns the Gateway, an application team its route and its backend, each in a namespace of its own.
func TestTeamsRouteIsServed(t *testing.T) {
	platform, team := newNamespace(t, "platform"), newNamespace(t, "team")
	apply(t, platform, gateway("front"))
	apply(t, team, backend("shop", 1)+httpRoute("shop", platform+"/front", "shop.example", "shop"))
	address := programmed(t, platform, "front")
	route(t, team, "shop", "Accepted", "True", "Accepted")
	route(t, team, "shop", "ResolvedRefs", "True", "ResolvedRefs")
	answers(t, address, "shop.example", "/", http.StatusOK, "shop")
	answers(t, address, "other.example", "/", http.StatusNotFound, "")
}

// Two Gateways have addresses, data planes and routes of their own.
func TestTwoGateways(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, gateway("left")+gateway("right")+backend("one", 1)+backend("two", 1)+
		httpRoute("one", "NAMESPACE/left", "app.example", "one")+httpRoute("two", "NAMESPACE/right", "app.example", "two"))
	left, right := programmed(t, namespace, "left"), programmed(t, namespace, "right")
	if left == right {
		t.Fatalf("both Gateways have the address %s", left)
	}
	answers(t, left, "app.example", "/", http.StatusOK, "one")
	answers(t, right, "app.example", "/", http.StatusOK, "two")
}

func TestCanary(t *testing.T) {
	namespace := newNamespace(t)
	canary := func(old, new int) string {
		return httpRoute("app", "NAMESPACE/front", "app.example", fmt.Sprintf("old=%d", old), fmt.Sprintf("new=%d", new))
	}
	apply(t, namespace, gateway("front")+backend("old", 2)+backend("new", 2)+canary(100, 0))
	ready(t, namespace, "old", "new")
	address := programmed(t, namespace, "front")
	answers(t, address, "app.example", "/", http.StatusOK, "old")
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(run *load.Run) {
		for _, weights := range [][2]int{{90, 10}, {50, 50}, {0, 100}} {
			apply(t, namespace, canary(weights[0], weights[1]))
			want := float64(weights[1]) / 100
			const sample = 1500
			// Four standard deviations of a random choice: one false alarm in 16,000.
			bound := 4 * math.Sqrt(want*(1-want)/sample)
			eventually(t, soon, fmt.Sprintf("share of %d %%", weights[1]), func() error {
				window := enough(t, run, run.Count(), sample)
				if share := window.Share("new"); math.Abs(share-want) > bound {
					return fmt.Errorf("%.1f %% of %d requests went to the new version, ± %.1f expected", share*100, sample, bound*100)
				}
				return nil
			})
		}
	})
}

// What one team breaks, no other team notices.
func TestBrokenRoutesNextToGoodOnes(t *testing.T) {
	namespace, other := newNamespace(t), newNamespace(t, "other")
	apply(t, namespace, gateway("front")+backend("good", 2)+httpRoute("good", "NAMESPACE/front", "good.example", "good"))
	ready(t, namespace, "good")
	address := programmed(t, namespace, "front")
	answers(t, address, "good.example", "/", http.StatusOK, "good")
	parent := fmt.Sprintf("parentRefs: [{namespace: %s, name: front}]", namespace)
	header := "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s}\nspec:\n  " + parent + "\n  "
	broken := []struct {
		name, spec, condition, status, reason string
		answer                                int
	}{
		{"missing", "hostnames: [missing.example]\n  rules: [{backendRefs: [{name: nowhere, port: 80}]}]",
			"ResolvedRefs", "False", "BackendNotFound", http.StatusInternalServerError},
		{"kind", "hostnames: [kind.example]\n  rules: [{backendRefs: [{group: example.com, kind: Cloud, name: nine, port: 80}]}]",
			"ResolvedRefs", "False", "InvalidKind", http.StatusInternalServerError},
		{"stolen", "hostnames: [stolen.example]\n  rules: [{backendRefs: [{namespace: " + namespace + ", name: good, port: 80}]}]",
			"ResolvedRefs", "False", "RefNotPermitted", http.StatusInternalServerError},
		{"expression", "hostnames: [expression.example]\n  rules: [{matches: [{path: {type: RegularExpression, value: '/(['}}]}]",
			"Accepted", "False", "UnsupportedValue", http.StatusNotFound},
	}
	underLoad(t, load.Load{Address: address, Host: "good.example"}, func(run *load.Run) {
		for _, each := range broken {
			apply(t, other, fmt.Sprintf(header, each.name)+each.spec)
			route(t, other, each.name, each.condition, each.status, each.reason)
			answers(t, address, each.name+".example", "/", each.answer, "")
		}
		enough(t, run, run.Count(), 500)
	})
}

func TestGrantGivenAndTakenBack(t *testing.T) {
	front, data := newNamespace(t), newNamespace(t, "data")
	grant := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: front}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: %s}]
  to: [{group: "", kind: Service, name: data}]
`, front)
	apply(t, data, backend("data", 1))
	apply(t, front, gateway("front")+fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: data}
spec:
  parentRefs: [{name: front}]
  hostnames: [data.example]
  rules: [{backendRefs: [{namespace: %s, name: data, port: 80}]}]
`, data))
	address := programmed(t, front, "front")
	for range 2 {
		route(t, front, "data", "ResolvedRefs", "False", "RefNotPermitted")
		answers(t, address, "data.example", "/", http.StatusInternalServerError, "")
		apply(t, data, grant)
		route(t, front, "data", "ResolvedRefs", "True", "ResolvedRefs")
		answers(t, address, "data.example", "/", http.StatusOK, "data")
		began := time.Now()
		kubectl(t, "delete", "referencegrant", "-n", data, "front")
		answers(t, address, "data.example", "/", http.StatusInternalServerError, "")
		t.Logf("revoked after %s, kubectl included", time.Since(began).Round(time.Millisecond))
	}
}
