package scenarios

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"testing"

	"portcullis.dev/e2e/load"
)

// An application team brings its own listener, with its own certificate, to the platform's Gateway, and takes it away
// again; what the platform serves there does not notice. A team that was not let in gets nothing.
func TestListenerSetOfATeam(t *testing.T) {
	platform, team, stranger := newNamespace(t, "platform"), newNamespace(t, "team"), newNamespace(t, "stranger")
	apply(t, platform, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: portcullis
  allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: %s}}}}
  listeners:
    - {name: http, port: 80, protocol: HTTP}
---
`, team)+backend("home", 1)+httpRoute("home", platform+"/front", "home.example", "home"))
	trusted := x509.NewCertPool()
	set := func(name, hostname string) string {
		return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: %s}
spec:
  parentRef: {namespace: %s, name: front}
  listeners:
    - {name: https, port: 443, protocol: HTTPS, hostname: %s, tls: {certificateRefs: [{name: app}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{group: gateway.networking.k8s.io, kind: ListenerSet, name: %s}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
---
`, name, platform, hostname, name)
	}
	ready(t, platform, "home")
	address := programmed(t, platform, "front")
	answers(t, address, "home.example", "/", http.StatusOK, "home")
	config := &tls.Config{RootCAs: trusted, ServerName: "app.example"}
	refused := func() error {
		connection, err := tls.Dial("tcp", address+":443", config)
		if err == nil {
			_ = connection.Close()
			return fmt.Errorf("port 443 is served")
		}
		return nil
	}
	underLoad(t, load.Load{Address: address, Host: "home.example"}, func(*load.Run) {
		for range 2 {
			apply(t, team, certificate(t, "the team", trusted)+backend("app", 1)+set("team", "app.example"))
			ready(t, team, "app")
			listenerSet(t, team, "team", "Accepted", "True", "Accepted")
			listenerSet(t, team, "team", "Programmed", "True", "Programmed")
			route(t, team, "app", "Accepted", "True", "Accepted")
			own := load.Load{Address: address + ":443", Host: "app.example", TLS: config}
			eventually(t, soon, "the team's listener", func() error {
				connection, err := tls.Dial("tcp", own.Address, config)
				if err != nil {
					return err
				}
				return connection.Close()
			})
			counted := underLoad(t, own, func(*load.Run) {})
			if counted.Answers["app"] != counted.Requests {
				t.Errorf("the team's listener answers %v", counted.Answers)
			}
			kubectl(t, "delete", "listenerset", "-n", team, "team")
			eventually(t, soon, "the team's listener gone", refused)
		}
		apply(t, stranger, certificate(t, "a stranger", trusted)+backend("app", 1)+set("stranger", "app.example"))
		listenerSet(t, stranger, "stranger", "Accepted", "False", "NotAllowed")
		if err := refused(); err != nil {
			t.Error(err)
		}
	})
}

// listenerSet waits until a ListenerSet has the condition.
func listenerSet(t *testing.T, namespace, name, kind, status, reason string) {
	t.Helper()
	eventually(t, soon, "ListenerSet "+name, func() error {
		found, err := read("listenersets", namespace, name)
		if err != nil {
			return err
		}
		return holds(found.Status.Conditions, kind, status, reason, found.Metadata.Generation)
	})
}
