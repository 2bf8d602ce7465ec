package scenarios

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"portcullis.dev/e2e/load"
)

// A team moves its backends to another authority as one does: trust both, replace the certificates, trust the new one
// alone. No request fails; and an authority that is no longer trusted is not.
func TestBackendAuthorityRotatedUnderLoad(t *testing.T) {
	namespace := newNamespace(t)
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	apply(t, namespace, before.secret(t, "backend", "before", "app.internal")+authorities("trusted", before)+
		gateway("front")+service("app", 2, "http", "backend")+httpRoute("app", "NAMESPACE/front", "app.example", "app")+`
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: app}
spec:
  targetRefs: [{group: "", kind: Service, name: app}]
  validation:
    hostname: app.internal
    caCertificateRefs: [{group: "", kind: ConfigMap, name: trusted}]
`)
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	answers(t, address, "app.example", "/", http.StatusOK, "app")
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(run *load.Run) {
		apply(t, namespace, authorities("trusted", before, after))
		enough(t, run, run.Count(), 200)
		apply(t, namespace, after.secret(t, "backend", "after", "app.internal"))
		kubectl(t, "rollout", "restart", "-n", namespace, "deployment/app")
		ready(t, namespace, "app")
		// Those of the old certificate have ended, connections that were kept to them too.
		eventually(t, soon, "two backends", func() error { return count(t, namespace, "app=app", 2) })
		apply(t, namespace, authorities("trusted", after))
		enough(t, run, run.Count(), 500)
	})
	apply(t, namespace, authorities("trusted", before))
	eventually(t, soon, "the new authority is not trusted any more", func() error {
		status, _, err := get(address, "app.example", "/")
		refusals := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}
		if err != nil || !slices.Contains(refusals, status) {
			return fmt.Errorf("status %d, %v", status, err)
		}
		return nil
	})
	apply(t, namespace, authorities("trusted", after))
	answers(t, address, "app.example", "/", http.StatusOK, "app")
}
