package scenarios

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"portcullis.dev/e2e/cluster"
)

// ancestors is what Gateways say of a policy.
type ancestors struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		Ancestors []struct {
			ControllerName string
			Conditions     []condition
		}
	}
}

// policy waits until the first Gateway says the condition of a policy, and returns its message.
func policy(t *testing.T, resource, namespace, name, kind, status, reason string) string {
	t.Helper()
	var message string
	eventually(t, time.Minute, fmt.Sprintf("%s %s %s=%s", resource, name, kind, status), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var found ancestors
		path := fmt.Sprintf("/apis/portcullis.dev/v1alpha1/namespaces/%s/%s/%s", namespace, resource, name)
		if err := api.Get(ctx, path, &found); err != nil {
			return err
		}
		if len(found.Status.Ancestors) == 0 {
			return fmt.Errorf("no Gateway says anything of it")
		}
		conditions := found.Status.Ancestors[0].Conditions
		for _, each := range conditions {
			if each.Type == kind {
				message = each.Message
			}
		}
		return holds(conditions, kind, status, reason, found.Metadata.Generation)
	})
	return message
}

// counters starts a store that the cluster's pods can reach, and returns its address.
func counters(t *testing.T) string {
	t.Helper()
	const port = "6399"
	address := net.JoinHostPort(cluster.NodeAddress, port)
	server := exec.Command("redis-server", "--bind", cluster.NodeAddress, "--port", port, "--save", "",
		"--requirepass", "counting", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatalf("%v: install the Debian package redis-server", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	eventually(t, soon, "the store", func() error {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	return address
}

// limited is a Gateway of two replicas that count in the store.
func limited(address string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: counters}
stringData: {password: counting}
---
apiVersion: portcullis.dev/v1alpha1
kind: GatewayParameters
metadata: {name: counting}
spec:
  replicas: 2
  counterStore: {addresses: [%q], authSecretRef: {name: counters}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: portcullis
  infrastructure: {parametersRef: {group: portcullis.dev, kind: GatewayParameters, name: counting}}
  listeners:
    - {name: http, port: 80, protocol: HTTP}
---
`, address)
}

const teamLimit = `
apiVersion: portcullis.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: team}
spec:
  targetRefs: [{kind: HTTPRoute, name: app}]
  rules:
    - name: hourly
      limits: [{requests: %d, calendar: Hour}]
      scope: Fleet
      precision: Exact
      onStoreFailure: Deny
---
`

// admitted sends requests, each on a connection of its own so that both replicas see some, with API keys in turn if any are given, and counts
// those that pass.
func admitted(t *testing.T, address, host string, requests int, keys ...string) int {
	t.Helper()
	passed := 0
	for number := range requests {
		var headers []string
		if len(keys) > 0 {
			headers = []string{"X-API-Key", keys[number%len(keys)]}
		}
		answer, err := ask(address, host, "/", headers...)
		switch {
		case err != nil:
			t.Fatal(err)
		case answer.StatusCode == http.StatusOK:
			passed++
		case answer.StatusCode != http.StatusTooManyRequests:
			t.Fatalf("status %d", answer.StatusCode)
		}
	}
	return passed
}

// A team's quota holds over both replicas together, and its status names the version and the replicas that have it.
func TestTeamsLimitOverTwoReplicas(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, limited(counters(t))+backend("app", 1)+httpRoute("app", "NAMESPACE/front", "app.example", "app"))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	answers(t, address, "app.example", "/", http.StatusOK, "app")
	apply(t, namespace, fmt.Sprintf(teamLimit, 40))
	// The Gateway is programmed with its first replica.
	eventually(t, time.Minute, "both replicas to have it", func() error {
		message := policy(t, "ratelimitpolicies", namespace, "team", "Programmed", "True", "Programmed")
		if !strings.Contains(message, "version ") || !strings.Contains(message, "2/2 replicas") {
			return fmt.Errorf("the status says %q", message)
		}
		return nil
	})
	route(t, namespace, "app", "portcullis.dev/RateLimitPolicyAffected", "True", "Accepted")
	if passed := admitted(t, address, "app.example", 120); passed != 40 {
		t.Errorf("%d of 120 requests passed a limit of 40", passed)
	}
	kubectl(t, "delete", "ratelimitpolicies.portcullis.dev", "-n", namespace, "team")
	answers(t, address, "app.example", "/", http.StatusOK, "app")
}

// What the platform overrides, the owner of a route cannot undo, neither by more nor by less.
func TestPlatformsOverrideStands(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, limited(counters(t))+backend("app", 1)+httpRoute("app", "NAMESPACE/front", "app.example", "app")+`
apiVersion: portcullis.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: platform}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  strategy: AtomicOverrides
  rules: [{name: hourly, limits: [{requests: 30, calendar: Hour}], scope: Fleet, precision: Exact, onStoreFailure: Deny}]
---
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: platform}
spec:
  targetRefs: [{kind: Gateway, name: front, sectionName: http}]
  strategy: AtomicOverrides
  exempt: [{path: {type: Exact, value: /}}]
  authentication: {methods: [{name: keys, apiKey: {secretRefs: [{name: nobody}]}}]}
---
`+fmt.Sprintf(teamLimit, 1000)+`
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: team}
spec:
  targetRefs: [{kind: HTTPRoute, name: app}]
  authentication: {methods: [{name: open, anonymous: {}}]}
`)
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	reachable(t, address)
	policy(t, "ratelimitpolicies", namespace, "platform", "Programmed", "True", "Programmed")
	for _, resource := range []string{"ratelimitpolicies", "authpolicies"} {
		message := policy(t, resource, namespace, "team", "Programmed", "False", "Overridden")
		if !strings.Contains(message, namespace+"/platform") {
			t.Errorf("%s: the status does not name the platform's policy: %q", resource, message)
		}
	}
	if passed := admitted(t, address, "app.example", 90); passed != 30 {
		t.Errorf("%d of 90 requests passed the platform's limit of 30", passed)
	}
	kubectl(t, "delete", "ratelimitpolicies.portcullis.dev", "-n", namespace, "platform", "team")
	answers(t, address, "app.example", "/elsewhere", http.StatusUnauthorized, "")
}

// A route's policy that drops what the Gateway asks for is let be, and everybody can see it.
func TestDowngradeIsVisible(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, gateway("front")+backend("app", 1)+httpRoute("app", "NAMESPACE/front", "app.example", "app")+`
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: platform}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  authentication: {methods: [{name: keys, apiKey: {secretSelector: {matchLabels: {tenant: app}}}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: acme, labels: {portcullis.dev/credential: api-key, tenant: app}}
stringData: {key: correct-horse-battery}
`)
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	answers(t, address, "app.example", "/", http.StatusUnauthorized, "")
	eventually(t, soon, "the key is taken", func() error {
		request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			return err
		}
		request.Host = "app.example"
		request.Header.Set("X-API-Key", "correct-horse-battery")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", answer.StatusCode)
		}
		return nil
	})
	apply(t, namespace, `
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: team}
spec:
  targetRefs: [{kind: HTTPRoute, name: app}]
  authentication: {methods: [{name: open, anonymous: {}}]}
`)
	answers(t, address, "app.example", "/", http.StatusOK, "app")
	const downgraded = "portcullis.dev/AuthenticationDowngraded"
	policy(t, "authpolicies", namespace, "team", downgraded, "True", "RequirementDropped")
	route(t, namespace, "app", downgraded, "True", "RequirementDropped")
	eventually(t, soon, "an Event", func() error {
		if described := kubectl(t, "describe", "authpolicies.portcullis.dev", "-n", namespace, "team"); !strings.Contains(described, "AuthenticationDowngraded") {
			return fmt.Errorf("kubectl describe does not tell of it")
		}
		return nil
	})
	kubectl(t, "delete", "authpolicies.portcullis.dev", "-n", namespace, "team")
	answers(t, address, "app.example", "/", http.StatusUnauthorized, "")
}
