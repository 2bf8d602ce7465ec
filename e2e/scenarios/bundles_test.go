package scenarios

import (
	"fmt"
	"net/http"
	"testing"
)

// A platform team keeps the cluster's authority in a ClusterTrustBundle. Backends are verified by it while it is there,
// and by nothing else: one that is gone or holds another's certificate is an outage, never plain trust.
func TestClusterTrustBundleComesAndGoes(t *testing.T) {
	namespace := newNamespace(t)
	own, other := newAuthority(t, "own"), newAuthority(t, "other")
	name := namespace + "-authority"
	bundle := func(of authority) string {
		return fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: ClusterTrustBundle
metadata: {name: %s}
spec:
  trustBundle: |
%s
---
`, name, block("CERTIFICATE", of.certificate.Raw))
	}
	t.Cleanup(func() { kubectl(t, "delete", "clustertrustbundle", name, "--ignore-not-found") })
	apply(t, namespace, own.secret(t, "backend", "backend", "app.internal")+gateway("front")+
		service("app", 1, "http", "backend")+httpRoute("app", "NAMESPACE/front", "app.example", "app")+fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: app}
spec:
  targetRefs: [{group: "", kind: Service, name: app}]
  validation:
    hostname: app.internal
    caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: %s}]
`, name))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	for range 2 {
		tlsPolicy(t, namespace, "app", "ResolvedRefs", "False", "InvalidCACertificateRef")
		tlsPolicy(t, namespace, "app", "Accepted", "False", "NoValidCACertificate")
		answers(t, address, "app.example", "/", http.StatusInternalServerError, "")
		apply(t, namespace, bundle(own))
		tlsPolicy(t, namespace, "app", "ResolvedRefs", "True", "ResolvedRefs")
		tlsPolicy(t, namespace, "app", "Accepted", "True", "Accepted")
		answers(t, address, "app.example", "/", http.StatusOK, "app")
		apply(t, namespace, bundle(other))
		answers(t, address, "app.example", "/", http.StatusServiceUnavailable, "")
		kubectl(t, "delete", "clustertrustbundle", name)
	}
}

// policy waits until a BackendTLSPolicy's first ancestor has the condition.
func tlsPolicy(t *testing.T, namespace, name, kind, status, reason string) {
	t.Helper()
	eventually(t, soon, "BackendTLSPolicy "+name, func() error {
		found, err := read("backendtlspolicies", namespace, name)
		if err != nil {
			return err
		}
		if len(found.Status.Ancestors) == 0 {
			return fmt.Errorf("no ancestor in its status")
		}
		return holds(found.Status.Ancestors[0].Conditions, kind, status, reason, found.Metadata.Generation)
	})
}
