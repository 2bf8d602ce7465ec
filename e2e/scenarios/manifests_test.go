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
	var refs []string
	for _, each := range backends {
		service, weight, weighted := strings.Cut(each, "=")
		if !weighted {
			weight = "1"
		}
		refs = append(refs, fmt.Sprintf("{name: %s, port: 80, weight: %s}", service, weight))
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{namespace: %s, name: %s}]
  hostnames: [%s]
  rules: [{backendRefs: [%s]}]
---
`, name, namespace, parentName, host, strings.Join(refs, ", "))
}
