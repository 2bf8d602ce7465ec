package scenarios

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"portcullis.dev/e2e/kube"
)

// How long a route takes from apply to the first 200, one route at a time, and how much of that is the API server's:
// an independent watcher stamps the same object. Anything but 404 and then 200 is an error: each route has a second rule
// that leads nowhere, so a half-applied one would show as 500.
func TestPropagation(t *testing.T) {
	const routes = 500
	namespace := newNamespace(t)
	apply(t, namespace, gateway("front")+backend("app", 1))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front")
	seen := watchRoutes(t, namespace)
	client := &prober{address: address + ":80"}
	defer client.close()

	// The address is given before every part of the node knows where it leads.
	eventually(t, soon, "404 from the Gateway", func() error {
		if status, err := client.ask("probe.example"); err != nil || status != http.StatusNotFound {
			return fmt.Errorf("%d, %v", status, err)
		}
		return nil
	})
	total, own := make([]time.Duration, routes), make([]time.Duration, routes)
	for index := range routes {
		name := fmt.Sprintf("probe-%d", index)
		if status, err := client.ask(name + ".example"); err != nil || status != http.StatusNotFound {
			t.Fatalf("before %s exists: %d, %v", name, status, err)
		}
		began := time.Now()
		if err := createRoute(t.Context(), namespace, name, "app"); err != nil {
			t.Fatal(err)
		}
		for {
			status, err := client.ask(name + ".example")
			if err != nil || (status != http.StatusNotFound && status != http.StatusOK) {
				t.Fatalf("%s answers %d, %v: only 404 and then 200 is right", name, status, err)
			}
			if status == http.StatusOK {
				break
			}
			if time.Since(began) > soon {
				t.Fatalf("%s is not served within %s", name, soon)
			}
			time.Sleep(time.Millisecond)
		}
		served := time.Now()
		total[index] = served.Sub(began)
		own[index] = max(served.Sub(seen(name)), 0)
	}
	first, last := mean(own[:100]), mean(own[routes-100:])
	t.Logf("propagation of %d routes, one at a time\n"+
		"| | mean | p50 | p99 | longest |\n|---|---|---|---|---|\n%s%s"+
		"last hundred / first hundred: %.2f (%.1f / %.1f ms)",
		routes, row("apply → 200", total), row("apply → 200 minus apply → watch", own),
		float64(last)/float64(max(first, 1)), milliseconds(last), milliseconds(first))
	// The figure to reach is a mean of 5 ms. It is told, not asserted: a busy machine must not fail a test.
}

// watchRoutes stamps the watch event of each new route; the function it returns waits for one.
func watchRoutes(t *testing.T, namespace string) func(name string) time.Time {
	t.Helper()
	var mutex sync.Mutex
	stamps := map[string]time.Time{}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		path := "/apis/gateway.networking.k8s.io/v1/namespaces/" + namespace + "/httproutes?watch=1"
		if err := api.Watch(ctx, path, func(event kube.Event) bool {
			at := time.Now()
			var route object
			if event.Type == "ADDED" && json.Unmarshal(event.Object, &route) == nil {
				mutex.Lock()
				stamps[route.Metadata.Name] = at
				mutex.Unlock()
			}
			return false
		}); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(func() { stop(); watching.Wait() })
	return func(name string) time.Time {
		var at time.Time
		eventually(t, soon, "watch event of "+name, func() error {
			mutex.Lock()
			defer mutex.Unlock()
			if at = stamps[name]; at.IsZero() {
				return fmt.Errorf("none yet")
			}
			return nil
		})
		return at
	}
}

// prober asks /ready on one connection.
type prober struct {
	address string
	stream  net.Conn
	reader  *bufio.Reader
}

func (p *prober) ask(host string) (int, error) {
	if p.stream == nil {
		stream, err := net.DialTimeout("tcp", p.address, 5*time.Second)
		if err != nil {
			return 0, err
		}
		p.stream, p.reader = stream, bufio.NewReader(stream)
	}
	if err := p.stream.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(p.stream, "GET /ready HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return 0, err
	}
	_ = answer.Body.Close() // reads it to the end
	if answer.Close {
		p.close()
	}
	return answer.StatusCode, nil
}

func (p *prober) close() {
	if p.stream != nil {
		_ = p.stream.Close()
		p.stream = nil
	}
}

func mean(of []time.Duration) time.Duration {
	var sum time.Duration
	for _, each := range of {
		sum += each
	}
	return sum / time.Duration(max(len(of), 1))
}

func row(name string, of []time.Duration) string {
	sorted := slices.Sorted(slices.Values(of))
	return fmt.Sprintf("| %s | %.1f ms | %.1f ms | %.1f ms | %.1f ms |\n", name, milliseconds(mean(of)),
		milliseconds(sorted[len(sorted)/2]), milliseconds(sorted[len(sorted)*99/100]), milliseconds(sorted[len(sorted)-1]))
}

func milliseconds(of time.Duration) float64 { return float64(of) / float64(time.Millisecond) }
