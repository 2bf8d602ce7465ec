package scenarios

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// What was made for a Gateway, by path of its kind.
var provisioned = []string{
	"/apis/apps/v1/namespaces/%s/deployments", "/apis/apps/v1/namespaces/%s/replicasets", "/api/v1/namespaces/%s/pods",
	"/api/v1/namespaces/%s/services", "/api/v1/namespaces/%s/serviceaccounts", "/api/v1/namespaces/%s/configmaps",
	"/api/v1/namespaces/%s/secrets", "/apis/policy/v1/namespaces/%s/poddisruptionbudgets",
	"/apis/autoscaling/v2/namespaces/%s/horizontalpodautoscalers",
	"/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices",
}

func TestDeletedGatewayLeavesNothing(t *testing.T) {
	namespace := newNamespace(t)
	empty := owned(t, namespace, "")
	apply(t, namespace, gateway("front"))
	programmed(t, namespace, "front")
	if made := owned(t, namespace, ofGateway("front")); len(made) < 4 {
		t.Fatalf("a Gateway should have a Deployment, a Service, a ServiceAccount and more; found %v", made)
	}
	kubectl(t, "delete", "gateway", "-n", namespace, "front", "--timeout=30s")
	eventually(t, soon, "nothing left", func() error {
		// By name, not by label: what lost its label would be left too.
		if left := owned(t, namespace, ""); len(left) > len(empty) {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

func owned(t *testing.T, namespace, selector string) []string {
	t.Helper()
	var all []string
	for _, kind := range provisioned {
		path := fmt.Sprintf(kind, namespace)
		short := path[strings.LastIndexByte(path, '/')+1:]
		for _, name := range list(t, path+"?labelSelector="+url.QueryEscape(selector)) {
			// Kubernetes' own, in every namespace, some time after it was made.
			if name != "kube-root-ca.crt" && name != "default" {
				all = append(all, short+"/"+name)
			}
		}
	}
	return all
}
