package scenarios

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"portcullis.dev/e2e/load"
)

// shifts is the edit of every route below: all to one, half to each, all to two.
var shifts = [][]string{{"one=1", "two=1"}, {"one=0", "two=1"}}

// New connections go where the edited route says; those that are open stay with the backend they have.
func TestConnectionsWhileTCPRouteIsEdited(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, gatewayOf("front", "{name: tcp, port: 9000, protocol: TCP}")+
		service("one", 2, "tcp", "")+service("two", 2, "tcp", "")+streamRoute("TCPRoute", "", "one=1", "two=0"))
	ready(t, namespace, "one", "two")
	address := programmed(t, namespace, "front") + ":9000"
	routeOf(t, "tcproutes", namespace, "app", "Accepted", "True", "Accepted")
	routeOf(t, "tcproutes", namespace, "app", "ResolvedRefs", "True", "ResolvedRefs")
	client := func() load.Client { return &load.Lines{Address: address} }
	asked(t, client)

	fresh := load.Start(t.Context(), load.Load{Clients: 2, Fresh: true, New: client})
	kept := underLoad(t, load.Load{New: client}, func(*load.Run) {
		moved(t, fresh, "one")
		for _, backends := range shifts {
			apply(t, namespace, streamRoute("TCPRoute", "", backends...))
			enough(t, fresh, fresh.Count(), 100)
		}
		moved(t, fresh, "two")
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new connections: %s", counted)
	}
	if kept.Answers["one"] != kept.Requests {
		t.Errorf("open connections were moved: %v of %d", kept.Answers, kept.Requests)
	}
}

// No datagram is lost while the route is edited, and new flows go where it says.
func TestDatagramsWhileUDPRouteIsEdited(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, gatewayOf("front", "{name: udp, port: 5300, protocol: UDP}")+
		service("one", 1, "udp", "")+service("two", 1, "udp", "")+streamRoute("UDPRoute", "", "one=1", "two=0"))
	ready(t, namespace, "one", "two")
	address := programmed(t, namespace, "front") + ":5300"
	routeOf(t, "udproutes", namespace, "app", "Accepted", "True", "Accepted")
	routeOf(t, "udproutes", namespace, "app", "ResolvedRefs", "True", "ResolvedRefs")
	client := func() load.Client { return &load.Datagrams{Address: address} }
	asked(t, client)

	fresh := load.Start(t.Context(), load.Load{Clients: 2, Fresh: true, New: client})
	underLoad(t, load.Load{New: client}, func(*load.Run) {
		moved(t, fresh, "one")
		for _, backends := range shifts {
			apply(t, namespace, streamRoute("UDPRoute", "", backends...))
			enough(t, fresh, fresh.Count(), 100)
		}
		moved(t, fresh, "two")
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new flows: %s", counted)
	}
}

// The backend's own certificate reaches the client, whose connections and whose backends' replacement nobody notices;
// a name that no route has is turned away.
func TestPassthroughToRolledBackend(t *testing.T) {
	namespace := newNamespace(t)
	authority := newAuthority(t, "backends")
	apply(t, namespace, authority.secret(t, "app", "the backend", "app.example")+
		gatewayOf("front", "{name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}")+
		service("app", 2, "http", "app")+streamRoute("TLSRoute", "app.example", "app"))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front") + ":443"
	routeOf(t, "tlsroutes", namespace, "app", "Accepted", "True", "Accepted")
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.certificate)
	config := &tls.Config{RootCAs: trusted, ServerName: "app.example"}
	eventually(t, soon, "the backend's certificate", func() error {
		connection, err := tls.Dial("tcp", address, config)
		if err != nil {
			return err
		}
		defer connection.Close()
		if got := connection.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "the backend" {
			return fmt.Errorf("certificate of %q", got)
		}
		return nil
	})
	if connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: trusted, ServerName: "other.example"}); err == nil {
		_ = connection.Close()
		t.Error("other.example was let through")
	}
	fresh := load.Start(t.Context(), load.Load{Address: address, Host: "app.example", TLS: config, Clients: 2, Fresh: true})
	underLoad(t, load.Load{Address: address, Host: "app.example", TLS: config}, func(*load.Run) {
		kubectl(t, "rollout", "restart", "-n", namespace, "deployment/app")
		ready(t, namespace, "app")
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new connections: %s", counted)
	}
}

// asked waits until a client gets an answer: the address is given before every part of the node knows where it leads.
func asked(t *testing.T, client func() load.Client) {
	t.Helper()
	eventually(t, soon, "an answer", func() error {
		own := client()
		defer own.Close()
		_, err := own.Ask(time.Now().Add(time.Second))
		return err
	})
}
