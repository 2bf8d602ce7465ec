package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portcullis.dev/e2e/kube"
)

// A thousand routes on one Gateway: counted right, with few writes to its status, and in little memory.
func TestThousandRoutes(t *testing.T) {
	const routes, writes, mebibytes = 1000, 20, 100
	namespace := newNamespace(t)
	apply(t, namespace, gateway("front")+backend("app", 1))
	address := programmed(t, namespace, "front")
	before, err := read("gateways", namespace, "front")
	if err != nil {
		t.Fatal(err)
	}
	// Only status is written here, so each new resourceVersion is one write.
	watch := fmt.Sprintf("/apis/gateway.networking.k8s.io/v1/namespaces/%s/gateways?watch=1&resourceVersion=%s",
		namespace, before.Metadata.ResourceVersion)
	ctx, stop := context.WithCancel(t.Context())
	versions := map[string]bool{}
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := api.Watch(ctx, watch, func(event kube.Event) bool {
			var seen object
			if json.Unmarshal(event.Object, &seen) == nil {
				versions[seen.Metadata.ResourceVersion] = true
			}
			return false
		}); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	began := time.Now()
	createRoutes(t, namespace, "many", routes)
	created := time.Since(began)
	eventually(t, time.Minute, "all attached", func() error {
		gateway, err := read("gateways", namespace, "front")
		if err != nil {
			return err
		}
		if got := gateway.Status.Listeners[0].AttachedRoutes; got != routes {
			return fmt.Errorf("attachedRoutes is %d of %d", got, routes)
		}
		return nil
	})
	t.Logf("%d routes created in %s, counted %s after that", routes, created.Round(time.Millisecond), (time.Since(began) - created).Round(time.Millisecond))
	last := fmt.Sprintf("many-%d", routes-1)
	route(t, namespace, last, "Accepted", "True", "Accepted")
	answers(t, address, last+".example", "/ready", http.StatusOK, "app")
	stop()
	watching.Wait()
	t.Logf("%d writes to the Gateway's status", len(versions))
	if len(versions) > writes {
		t.Errorf("the Gateway's status was written %d times, %d allowed", len(versions), writes)
	}
	for _, each := range pods(t, system, controllers) {
		resident := residentMebibytes(t, containerID(each))
		t.Logf("%s: %d MiB resident", each.Metadata.Name, resident)
		if resident > mebibytes {
			t.Errorf("%s takes %d MiB, %d allowed", each.Metadata.Name, resident, mebibytes)
		}
	}
}

// createRoutes makes routes NAME-0… from NAME-0.example… to the backend "app" on the Gateway "front", eight at a time.
func createRoutes(t *testing.T, namespace, name string, number int) {
	t.Helper()
	inParallel(number, func(index int) {
		each := fmt.Sprintf("%s-%d", name, index)
		if err := createRoute(t.Context(), namespace, each, "app"); err != nil {
			t.Errorf("create %s: %v", each, err)
		}
	})
}

// createRoute sends NAME.example/ready to the backend. Its second rule leads nowhere, so that a route which is applied
// by halves shows as 500.
func createRoute(ctx context.Context, namespace, name, backend string) error {
	to := func(service string) []any {
		return []any{map[string]any{"name": service, "port": 80}}
	}
	matches := func(path string) []any {
		return []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": path}}}
	}
	return api.Create(ctx, "/apis/gateway.networking.k8s.io/v1/namespaces/"+namespace+"/httproutes", map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "front"}}, "hostnames": []string{name + ".example"},
			"rules": []any{
				map[string]any{"backendRefs": to(backend), "matches": matches("/ready")},
				map[string]any{"backendRefs": to("nowhere"), "matches": matches("/")},
			},
		},
	})
}

// residentMebibytes is VmRSS of a container's process.
func residentMebibytes(t *testing.T, id string) int {
	t.Helper()
	for line := range strings.Lines(containerd(t, "tasks", "list")) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != id {
			continue
		}
		status, err := os.ReadFile("/proc/" + fields[1] + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if value, found := strings.CutPrefix(line, "VmRSS:"); found {
				kibibytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
				if err != nil {
					t.Fatal(err)
				}
				return kibibytes / 1024
			}
		}
	}
	t.Fatalf("containerd has no task %s", id)
	return 0
}
