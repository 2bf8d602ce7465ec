package scenarios

import (
	"fmt"
	"strings"

	"portcullis.dev/e2e/cluster"
)

// backend is a Deployment and its Service on port 80; every answer carries its name as X-Backend.
func backend(name string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
        - name: backend
          image: %[3]s
          env: [{name: VERSION, value: %[1]s}]
          ports: [{containerPort: 3000}]
          readinessProbe: {httpGet: {path: /, port: 3000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 3000}]
---
`, name, replicas, cluster.BackendImage)
}

// service is backend for another protocol than HTTP (tcp, udp or grpc), or for any over TLS with the certificate of a
// Secret; empty for none.
func service(name string, replicas int, protocol, secret string) string {
	port, transport, application := "containerPort: 3000", "TCP", ""
	probe := "readinessProbe: {tcpSocket: {port: 3000}, periodSeconds: 1}"
	var environment, mounts, volumes string
	switch protocol {
	case "udp":
		port, transport, probe = "containerPort: 3000, protocol: UDP", "UDP", ""
	case "grpc":
		application = ", appProtocol: kubernetes.io/h2c"
		probe = "readinessProbe: {grpc: {port: 3000}, periodSeconds: 1}"
	}
	if secret != "" {
		environment = ", {name: TLS_CERT, value: /tls/tls.crt}, {name: TLS_KEY, value: /tls/tls.key}"
		mounts = "volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]"
		volumes = fmt.Sprintf("volumes: [{name: tls, secret: {secretName: %s}}]", secret)
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 20
      %[9]s
      containers:
        - name: backend
          image: %[3]s
          env: [{name: VERSION, value: %[1]s}, {name: PROTOCOL, value: %[4]s}%[7]s]
          ports: [{%[5]s}]
          %[6]s
          %[8]s
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: app, port: 80, targetPort: 3000, protocol: %[10]s%[11]s}]
---
`, name, replicas, cluster.BackendImage, protocol, port, probe, environment, mounts, volumes, transport, application)
}

// gatewayOf has the given listeners, written as YAML's flow mappings.
func gatewayOf(name string, listeners ...string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s}
spec:
  gatewayClassName: portcullis
  listeners: [%s]
---
`, name, strings.Join(listeners, ", "))
}

// streamRoute is a route named app of a kind that has one rule and no matches (TCPRoute, UDPRoute, TLSRoute with its
// hostnames), to backends of the Gateway front, written as in httpRoute.
func streamRoute(kind, hostnames string, backends ...string) string {
	if hostnames != "" {
		hostnames = "hostnames: [" + hostnames + "]"
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: app}
spec:
  parentRefs: [{name: front}]
  %s
  rules: [{backendRefs: [%s]}]
---
`, kind, hostnames, backendRefs(backends))
}

// gateway has one HTTP listener that takes routes of all namespaces.
func gateway(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s}
spec:
  gatewayClassName: portcullis
  listeners:
    - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
---
`, name)
}

// httpRoute sends a host's requests to backends, written as name or name=weight, to the Gateway (namespace/name).
func httpRoute(name, parent, host string, backends ...string) string {
	namespace, parentName, _ := strings.Cut(parent, "/")
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{namespace: %s, name: %s}]
  hostnames: [%s]
  rules: [{backendRefs: [%s]}]
---
`, name, namespace, parentName, host, backendRefs(backends))
}

// backendRefs are references to port 80 of Services, each written as name or name=weight.
func backendRefs(backends []string) string {
	var refs []string
	for _, each := range backends {
		service, weight, weighted := strings.Cut(each, "=")
		if !weighted {
			weight = "1"
		}
		refs = append(refs, fmt.Sprintf("{name: %s, port: 80, weight: %s}", service, weight))
	}
	return strings.Join(refs, ", ")
}
