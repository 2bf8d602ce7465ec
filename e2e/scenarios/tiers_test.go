package scenarios

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tiers is what the platform asks of everybody, and what a team adds for its own clients.
const tiers = `
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: platform}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  strategy: PatchDefaults
  authentication: {methods: [{name: operators, apiKey: {secretRefs: [{name: operators}]}}]}
  identity: {headers: [{name: X-Client, expression: auth.apiKey.id}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {name: team}
spec:
  targetRefs: [{kind: HTTPRoute, name: app}]
  authentication: {methods: [{name: clients, apiKey: {secretSelector: {matchLabels: {tenant: app}}}}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: team}
spec:
  targetRefs: [{kind: HTTPRoute, name: app}]
  rules:
    - name: plan
      key: [{type: APIKey}]
      limits: [{requests: 10, calendar: Day}]
      tiers:
        from: {type: Expression, expression: 'auth.apiKey.metadata["plan"]'}
        entries: [{value: gold, limits: [{requests: 30, calendar: Day}]}]
      scope: Fleet
      precision: Exact
      onStoreFailure: Deny
---
apiVersion: v1
kind: Secret
metadata: {name: operators}
stringData: {key: key-of-the-operators}
---
apiVersion: v1
kind: Secret
metadata:
  name: acme
  labels: {portcullis.dev/credential: api-key, tenant: app, client.portcullis.dev/plan: gold}
stringData: {current: key-of-acme, next: next-key-of-acme}
---
apiVersion: v1
kind: Secret
metadata: {name: tiny, labels: {portcullis.dev/credential: api-key, tenant: app}}
stringData: {key: key-of-tiny}
---
`

// shown asks once with an API key.
func shown(address, host, key string) (int, error) {
	answer, err := ask(address, host, "/", "X-API-Key", key)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, nil
}

// The platform's way in and the team's own stand side by side, and each client has the quota of its plan over both
// replicas, whichever of its keys it shows.
func TestTiersByAPIKey(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, limited(counters(t))+backend("app", 1)+httpRoute("app", "NAMESPACE/front", "app.example", "app")+tiers)
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	// Who shows no key is counted nowhere.
	answers(t, address, "app.example", "/", http.StatusUnauthorized, "")
	for _, each := range [][2]string{{"authpolicies", "platform"}, {"authpolicies", "team"}, {"ratelimitpolicies", "team"}} {
		// The Gateway is programmed with its first replica.
		eventually(t, time.Minute, "both replicas to have it", func() error {
			message := policy(t, each[0], namespace, each[1], "Programmed", "True", "Programmed")
			if !strings.Contains(message, "2/2 replicas") {
				return fmt.Errorf("%s %s says %q", each[0], each[1], message)
			}
			return nil
		})
		policy(t, each[0], namespace, each[1], "Accepted", "True", "Accepted")
	}
	for _, client := range []struct {
		name     string
		keys     []string
		requests int
		quota    int
	}{
		{"acme, of the gold plan", []string{"key-of-acme", "next-key-of-acme"}, 90, 30},
		{"tiny, of no plan", []string{"key-of-tiny"}, 30, 10},
		{"the platform's operators", []string{"key-of-the-operators"}, 30, 10},
	} {
		if passed := admitted(t, address, "app.example", client.requests, client.keys...); passed != client.quota {
			t.Errorf("%s: %d of %d requests passed a quota of %d", client.name, passed, client.requests, client.quota)
		}
	}
	for _, key := range []string{"", "key-of-nobody"} {
		if status, err := shown(address, "app.example", key); err != nil || status != http.StatusUnauthorized {
			t.Errorf("the key %q is answered %d (%v)", key, status, err)
		}
	}
	// A client that is taken away is out, and nobody else with it.
	kubectl(t, "delete", "secret", "-n", namespace, "acme")
	eventually(t, soon, "acme is out", func() error {
		if status, err := shown(address, "app.example", "key-of-acme"); err != nil || status != http.StatusUnauthorized {
			return fmt.Errorf("status %d (%v)", status, err)
		}
		return nil
	})
	if status, err := shown(address, "app.example", "key-of-tiny"); err != nil || status != http.StatusTooManyRequests {
		t.Errorf("tiny is answered %d (%v)", status, err)
	}
}
