package scenarios

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"portcullis.dev/e2e/load"
)

// A dual-stack Gateway takes clients of both families, and sends them to backends that have an address of the other
// alone, or of both; over HTTP, TCP and UDP.
func TestBothFamilies(t *testing.T) {
	namespace := newNamespace(t)
	ofFamily := func(name, families string) string {
		return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s-%[2]s}
spec:
  ipFamilyPolicy: %[3]s
  ipFamilies: [%[4]s]
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 3000, protocol: %[5]s}]
---
`, name, map[string]string{"IPv4": "four", "IPv6": "six", "IPv6, IPv4": "both"}[families],
			map[bool]string{true: "RequireDualStack", false: "SingleStack"}[families == "IPv6, IPv4"], families,
			map[bool]string{true: "UDP", false: "TCP"}[name == "grams"])
	}
	stream := func(kind, section, backend string) string {
		return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s}
spec:
  parentRefs: [{name: front, sectionName: %s}]
  rules: [{backendRefs: [{name: %s, port: 80}]}]
---
`, kind, section, section, backend)
	}
	manifests := `
apiVersion: portcullis.dev/v1alpha1
kind: GatewayParameters
metadata: {name: both}
spec: {service: {type: ClusterIP, ipFamilyPolicy: RequireDualStack}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: portcullis
  infrastructure: {parametersRef: {group: portcullis.dev, kind: GatewayParameters, name: both}}
  listeners:
    - {name: http, port: 80, protocol: HTTP}
    - {name: tcp, port: 9000, protocol: TCP}
    - {name: udp, port: 9000, protocol: UDP}
---
` + backend("web", 1) + service("lines", 1, "tcp", "") + service("grams", 1, "udp", "") +
		ofFamily("web", "IPv4") + ofFamily("web", "IPv6") + ofFamily("web", "IPv6, IPv4") + ofFamily("lines", "IPv6") + ofFamily("grams", "IPv6") +
		httpRoute("four", "NAMESPACE/front", "four.example", "web-four") + httpRoute("six", "NAMESPACE/front", "six.example", "web-six") +
		httpRoute("both", "NAMESPACE/front", "both.example", "web-both") +
		stream("TCPRoute", "tcp", "lines-six") + stream("UDPRoute", "udp", "grams-six")
	apply(t, namespace, manifests)
	ready(t, namespace, "web", "lines", "grams")
	programmed(t, namespace, "front")
	gateway, err := read("gateways", namespace, "front")
	if err != nil {
		t.Fatal(err)
	}
	families := map[bool]bool{}
	for _, each := range gateway.Status.Addresses {
		families[net.ParseIP(each.Value).To4() != nil] = true
		for _, host := range []string{"four.example", "six.example", "both.example"} {
			answers(t, net.JoinHostPort(each.Value, "80"), host, "/", http.StatusOK, "web")
		}
		streams := net.JoinHostPort(each.Value, "9000")
		asked(t, func() load.Client { return &load.Lines{Address: streams} })
		asked(t, func() load.Client { return &load.Datagrams{Address: streams} })
	}
	if len(families) != 2 {
		t.Errorf("the Gateway has no address of each family: %+v", gateway.Status.Addresses)
	}
}
