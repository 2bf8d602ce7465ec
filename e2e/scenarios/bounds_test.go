package scenarios

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portcullis.dev/e2e/load"
)

// Two thousand routes share one hostname: each is told that it is served, and each request finds its own.
func TestTwoThousandRoutesOfOneHost(t *testing.T) {
	const routes, host = 2000, "shop.example"
	namespace := newNamespace(t)
	apply(t, namespace, gateway("front")+backend("app", 1))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	name := func(index int) string { return fmt.Sprintf("part-%d", index) }
	inParallel(routes, func(index int) {
		if err := createPart(t, namespace, name(index), host); err != nil {
			t.Errorf("create %s: %v", name(index), err)
		}
	})
	eventually(t, 2*time.Minute, "all attached", func() error {
		gateway, err := read("gateways", namespace, "front")
		if err != nil {
			return err
		}
		if got := gateway.Status.Listeners[0].AttachedRoutes; got != routes {
			return fmt.Errorf("attachedRoutes is %d of %d", got, routes)
		}
		return nil
	})
	eventually(t, 2*time.Minute, "every status right", func() error {
		var all struct{ Items []object }
		if err := api.Get(t.Context(), "/apis/gateway.networking.k8s.io/v1/namespaces/"+namespace+"/httproutes", &all); err != nil {
			return err
		}
		if len(all.Items) != routes {
			return fmt.Errorf("%d routes", len(all.Items))
		}
		for _, each := range all.Items {
			if len(each.Status.Parents) != 1 {
				return fmt.Errorf("%s has %d parents in its status", each.Metadata.Name, len(each.Status.Parents))
			}
			for _, kind := range []string{"Accepted", "ResolvedRefs"} {
				if err := holds(each.Status.Parents[0].Conditions, kind, "True", kind, each.Metadata.Generation); err != nil {
					return fmt.Errorf("%s: %w", each.Metadata.Name, err)
				}
			}
		}
		return nil
	})
	part := func(index int) error {
		answer, err := ask(address, host, "/"+name(index)+"/x")
		if err == nil && (answer.StatusCode != http.StatusOK || answer.Header.Get("X-Part") != name(index)) {
			err = fmt.Errorf("%s from %q", answer.Status, answer.Header.Get("X-Part"))
		}
		return err
	}
	// The last one that was made may be on its way yet; once it is there, all are.
	eventually(t, soon, "the last route", func() error { return part(routes - 1) })
	inParallel(routes, func(index int) {
		if err := part(index); err != nil {
			t.Errorf("%s: %v", name(index), err)
		}
	})
	answers(t, address, host, "/"+name(routes), http.StatusNotFound, "")
}

// createPart sends HOST/NAME to the backend "app", and says so in the answer.
func createPart(t *testing.T, namespace, name, host string) error {
	said := []any{map[string]any{"name": "X-Part", "value": name}}
	return api.Create(t.Context(), "/apis/gateway.networking.k8s.io/v1/namespaces/"+namespace+"/httproutes", map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "front"}}, "hostnames": []string{host},
			"rules": []any{map[string]any{
				"matches":     []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/" + name}}},
				"filters":     []any{map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{"set": said}}},
				"backendRefs": []any{map[string]any{"name": "app", "port": 80}},
			}},
		},
	})
}

// Three hundred listeners on one Gateway, which five ListenerSets bring: all programmed, each for its own host.
func TestThreeHundredListeners(t *testing.T) {
	const sets, each = 5, 60
	namespace := newNamespace(t)
	host := func(set, listener int) string { return fmt.Sprintf("l%d.s%d.example", listener, set) }
	manifests := strings.Replace(gateway("front"), "  listeners:", "  allowedListeners: {namespaces: {from: Same}}\n  listeners:", 1)
	for set := range sets {
		var listeners strings.Builder
		for listener := range each {
			fmt.Fprintf(&listeners, "\n    - {name: l%d, port: 80, protocol: HTTP, hostname: %s}", listener, host(set, listener))
		}
		manifests += fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: s%[1]d}
spec:
  parentRef: {name: front}
  listeners:%[2]s
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: s%[1]d}
spec:
  parentRefs: [{group: gateway.networking.k8s.io, kind: ListenerSet, name: s%[1]d}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
---
`, set, listeners.String())
	}
	apply(t, namespace, backend("app", 1)+manifests)
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	for set := range sets {
		name := fmt.Sprintf("s%d", set)
		eventually(t, time.Minute, "ListenerSet "+name, func() error {
			found, err := read("listenersets", namespace, name)
			if err != nil {
				return err
			}
			if len(found.Status.Listeners) != each {
				return fmt.Errorf("%d of %d listeners in its status", len(found.Status.Listeners), each)
			}
			for _, listener := range found.Status.Listeners {
				if listener.AttachedRoutes != 1 {
					return fmt.Errorf("%s has %d routes", listener.Name, listener.AttachedRoutes)
				}
				if err := holds(listener.Conditions, "Programmed", "True", "", found.Metadata.Generation); err != nil {
					return fmt.Errorf("%s: %w", listener.Name, err)
				}
			}
			return holds(found.Status.Conditions, "Programmed", "True", "", found.Metadata.Generation)
		})
		answers(t, address, host(set, each-1), "/", http.StatusOK, "app")
	}
	inParallel(sets*each, func(index int) {
		host := host(index/each, index%each)
		if status, from, err := get(address, host, "/"); err != nil || status != http.StatusOK || from != "app" {
			t.Errorf("%s: status %d from %q, %v", host, status, from, err)
		}
	})
	answers(t, address, "other.example", "/", http.StatusNotFound, "")
}

// "Gateway names … up to 253 characters": longer than any name or label of what is made for it may be.
func TestLongestGatewayName(t *testing.T) {
	namespace := newNamespace(t)
	longest := strings.Repeat("g", 253)
	apply(t, namespace, gateway(longest)+backend("app", 1)+httpRoute("app", "NAMESPACE/"+longest, "app.example", "app"))
	ready(t, namespace, "app")
	answers(t, programmed(t, namespace, longest), "app.example", "/", http.StatusOK, "app")
	route(t, namespace, "app", "Accepted", "True", "Accepted")
	kubectl(t, "delete", "gateway", "-n", namespace, longest, "--timeout=30s")
	eventually(t, soon, "nothing left", func() error {
		if left := list(t, "/apis/apps/v1/namespaces/"+namespace+"/deployments"); len(left) != 1 {
			return fmt.Errorf("Deployments are left: %v", left)
		}
		return nil
	})
}

// One number, four protocols: on Gateways of their own, and TCP beside UDP on one.
func TestPortsOfOneNumber(t *testing.T) {
	namespace := newNamespace(t)
	authority := newAuthority(t, "one")
	stream := func(kind, name, gateway, section, backend string) string {
		return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s}
spec:
  parentRefs: [{name: %s, sectionName: %s}]
  rules: [{backendRefs: [{name: %s, port: 80}]}]
---
`, kind, name, gateway, section, backend)
	}
	apply(t, namespace, authority.secret(t, "web", "web", "app.example")+
		backend("web", 1)+service("lines", 1, "tcp", "")+service("grams", 1, "udp", "")+
		gatewayOf("plain", "{name: http, port: 9000, protocol: HTTP}")+
		gatewayOf("secret", "{name: https, port: 9000, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}")+
		gatewayOf("both", "{name: tcp, port: 9000, protocol: TCP}", "{name: udp, port: 9000, protocol: UDP}")+
		httpRoute("plain", "NAMESPACE/plain", "app.example", "web")+httpRoute("secret", "NAMESPACE/secret", "app.example", "web")+
		stream("TCPRoute", "lines", "both", "tcp", "lines")+stream("UDPRoute", "grams", "both", "udp", "grams"))
	ready(t, namespace, "web", "lines", "grams")
	plain, both := programmed(t, namespace, "plain"), programmed(t, namespace, "both")
	secret := programmed(t, namespace, "secret")
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.certificate)
	config := &tls.Config{RootCAs: trusted, ServerName: "app.example"}
	answers(t, plain+":9000", "app.example", "/", http.StatusOK, "web")
	asked(t, func() load.Client { return &load.Lines{Address: both + ":9000"} })
	asked(t, func() load.Client { return &load.Datagrams{Address: both + ":9000"} })
	eventually(t, soon, "HTTPS", func() error {
		connection, err := tls.Dial("tcp", secret+":9000", config)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	underLoad(t, load.Load{Address: secret + ":9000", Host: "app.example", TLS: config}, func(*load.Run) {})
}

// inParallel does something for each of a number of things, eight at a time.
func inParallel(number int, each func(index int)) {
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for index := range numbers {
				each(index)
			}
		})
	}
	for index := range number {
		numbers <- index
	}
	close(numbers)
	workers.Wait()
}
