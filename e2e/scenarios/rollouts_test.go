package scenarios

import (
	"net/http"
	"testing"

	"portcullis.dev/e2e/load"
)

// fronted is a namespace with a Gateway "front", a backend "app" of two pods, and a route from app.example.
func fronted(t *testing.T) (namespace, address string) {
	t.Helper()
	namespace = newNamespace(t)
	apply(t, namespace, gateway("front")+backend("app", 2)+httpRoute("app", "NAMESPACE/front", "app.example", "app"))
	ready(t, namespace, "app")
	address = programmed(t, namespace, "front")
	answers(t, address, "app.example", "/", http.StatusOK, "app")
	return namespace, address
}

func TestBackendRolledUnderLoad(t *testing.T) {
	namespace, address := fronted(t)
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(*load.Run) {
		for range 2 {
			kubectl(t, "rollout", "restart", "-n", namespace, "deployment/app")
			ready(t, namespace, "app")
		}
		kubectl(t, "scale", "-n", namespace, "deployment/app", "--replicas=4")
		ready(t, namespace, "app")
		kubectl(t, "scale", "-n", namespace, "deployment/app", "--replicas=1")
		eventually(t, soon, "one backend left", func() error { return count(t, namespace, "app=app", 1) })
	})
}

// The data plane's pods are replaced, as for a new image: clients with kept-alive connections and clients with new ones
// notice nothing.
func TestDataPlaneRolledUnderLoad(t *testing.T) {
	namespace, address := fronted(t)
	fresh := load.Start(t.Context(), load.Load{Address: address + ":80", Host: "app.example", Clients: 2, Fresh: true})
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(*load.Run) {
		before := pods(t, namespace, ofGateway("front"))
		kubectl(t, "rollout", "restart", "-n", namespace, "deployment", "-l", ofGateway("front"))
		kubectl(t, "rollout", "status", "-n", namespace, "deployment", "-l", ofGateway("front"), "--timeout=120s")
		eventually(t, soon, "old pods gone", func() error { return gone(t, namespace, ofGateway("front"), before) })
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new connections: %s", counted)
	}
}

// The control: the same without a gateway between. If this fails, the cluster or the load generator is at fault.
func TestBackendRolledWithoutGateway(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, backend("app", 2))
	kubectl(t, "patch", "service", "-n", namespace, "app", "-p", `{"spec":{"type":"LoadBalancer"}}`)
	ready(t, namespace, "app")
	var address string
	eventually(t, soon, "an address that answers", func() error {
		address = kubectl(t, "get", "service", "-n", namespace, "app", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		_, _, err := get(address, "app.example", "/")
		return err
	})
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(*load.Run) {
		kubectl(t, "rollout", "restart", "-n", namespace, "deployment/app")
		ready(t, namespace, "app")
		kubectl(t, "scale", "-n", namespace, "deployment/app", "--replicas=1")
		eventually(t, soon, "one backend left", func() error { return count(t, namespace, "app=app", 1) })
	})
}
