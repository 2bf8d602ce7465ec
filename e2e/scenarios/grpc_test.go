package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"portcullis.dev/e2e/load"
)

// Calls of gRPC's own client go where the route says, and none fails while that is edited; a method that no rule has is
// unimplemented, as gRPC says it.
func TestCallsWhileGRPCRouteIsEdited(t *testing.T) {
	namespace := newNamespace(t)
	grpcRoute := func(backends ...string) string {
		return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: app}
spec:
  parentRefs: [{name: front}]
  hostnames: [app.example]
  rules: [{matches: [{method: {service: grpc.health.v1.Health, method: Check}}], backendRefs: [%s]}]
---
`, backendRefs(backends))
	}
	apply(t, namespace, gateway("front")+service("one", 2, "grpc", "")+service("two", 2, "grpc", "")+grpcRoute("one=1", "two=0"))
	ready(t, namespace, "one", "two")
	address := programmed(t, namespace, "front") + ":80"
	routeOf(t, "grpcroutes", namespace, "app", "Accepted", "True", "Accepted")
	routeOf(t, "grpcroutes", namespace, "app", "ResolvedRefs", "True", "ResolvedRefs")
	client := func() load.Client { return &calls{address: address} }
	asked(t, client)

	connection, err := call(address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	watch, err := grpc_health_v1.NewHealthClient(connection).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a method without a rule: %v", err)
	}

	fresh := load.Start(t.Context(), load.Load{Clients: 2, Fresh: true, New: client})
	underLoad(t, load.Load{New: client}, func(run *load.Run) {
		moved(t, run, "one")
		for _, backends := range shifts {
			apply(t, namespace, grpcRoute(backends...))
			enough(t, run, run.Count(), 200)
		}
		moved(t, run, "two") // calls are routed one by one, whatever connection they share
		kubectl(t, "rollout", "restart", "-n", namespace, "deployment/two")
		ready(t, namespace, "two")
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new connections: %s", counted)
	}
}

// calls is a client of the health service. gRPC's client repeats what the server refused before it looked at it, and
// nothing else.
type calls struct {
	address    string
	connection *grpc.ClientConn
}

func call(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithAuthority("app.example"), grpc.WithDisableRetry(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (c *calls) Ask(deadline time.Time) (string, error) {
	if c.connection == nil {
		connection, err := call(c.address)
		if err != nil {
			return "", err
		}
		c.connection = connection
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var header metadata.MD
	answer, err := grpc_health_v1.NewHealthClient(c.connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil {
		return "", err
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return "", fmt.Errorf("answer %s", answer.Status)
	}
	names := header.Get("x-backend")
	if len(names) != 1 {
		return "", fmt.Errorf("the answer names %d backends", len(names))
	}
	return names[0], nil
}

func (c *calls) Close() {
	if c.connection != nil {
		_ = c.connection.Close()
		c.connection = nil
	}
}
