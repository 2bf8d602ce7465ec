package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"portcullis.dev/e2e/cluster"
	"portcullis.dev/e2e/kube"
	"portcullis.dev/e2e/load"
)

const (
	system = "portcullis-system"
	soon   = 30 * time.Second // for what the controller or kubelet must do
)

var (
	layout = cluster.DefaultLayout()
	api    *kube.Client
	// controllers selects the controller's pods, as its Deployment does.
	controllers string
)

func TestMain(m *testing.M) {
	client, err := layout.Client()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err = client.Get(ctx, "/apis/gateway.networking.k8s.io/v1/gatewayclasses/portcullis", &struct{}{})
		if err == nil {
			controllers, err = selector(ctx, client)
		}
		cancel()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "no cluster with Portcullis here (%v): run `make cluster`, then scripts/e2e.sh scenarios\n", err)
		os.Exit(1)
	}
	api = client
	os.Exit(m.Run())
}

func selector(ctx context.Context, client *kube.Client) (string, error) {
	var deployment struct {
		Spec struct {
			Selector struct{ MatchLabels map[string]string }
		}
	}
	err := client.Get(ctx, "/apis/apps/v1/namespaces/"+system+"/deployments/portcullis-controller", &deployment)
	var labels []string
	for name, value := range deployment.Spec.Selector.MatchLabels {
		labels = append(labels, name+"="+value)
	}
	return strings.Join(labels, ","), err
}

// kubectl runs it and returns what it prints.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return kubectlWith(t, "", args...)
}

func kubectlWith(t *testing.T, input string, args ...string) string {
	t.Helper()
	command := exec.Command(layout.Bin+"/kubectl", append([]string{"--kubeconfig=" + layout.Kubeconfig()}, args...)...)
	command.Stdin = strings.NewReader(input)
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
	return string(output)
}

// apply sends manifests as a user does. The folder's NAMESPACE stands for the test's own.
func apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	kubectlWith(t, strings.ReplaceAll(manifests, "NAMESPACE", namespace), "apply", "-n", namespace, "-f", "-")
}

// newNamespace is empty, and gone after the test unless that failed.
func newNamespace(t *testing.T, suffix ...string) string {
	t.Helper()
	name := "e2e-" + strings.ToLower(strings.Join(append([]string{strings.TrimPrefix(t.Name(), "Test")}, suffix...), "-"))
	kubectl(t, "delete", "namespace", name, "--ignore-not-found", "--timeout=60s")
	kubectl(t, "create", "namespace", name)
	t.Cleanup(func() {
		if !t.Failed() {
			kubectl(t, "delete", "namespace", name, "--wait=false")
		}
	})
	return name
}

// eventually polls until the condition holds.
func eventually(t *testing.T, patience time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ready(t *testing.T, namespace string, deployments ...string) {
	t.Helper()
	for _, each := range deployments {
		kubectl(t, "rollout", "status", "-n", namespace, "deployment/"+each, "--timeout=90s")
	}
}

type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

type object struct {
	Metadata struct {
		Name            string
		Generation      int64
		ResourceVersion string
	}
	Status struct {
		Conditions []condition
		Addresses  []struct{ Value string }
		Listeners  []struct {
			Name           string
			AttachedRoutes int
			Conditions     []condition
		}
		Parents []struct {
			ControllerName string
			Conditions     []condition
		}
		Ancestors []struct {
			ControllerName string
			Conditions     []condition
		}
	}
}

// read fetches one object of the Gateway API.
func read(kind, namespace, name string) (object, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var found object
	err := api.Get(ctx, fmt.Sprintf("/apis/gateway.networking.k8s.io/v1/namespaces/%s/%s/%s", namespace, kind, name), &found)
	return found, err
}

// holds says whether a condition has the status (and the reason, unless empty) for the newest generation.
func holds(conditions []condition, kind, status, reason string, generation int64) error {
	for _, each := range conditions {
		if each.Type != kind {
			continue
		}
		if each.Status != status || (reason != "" && each.Reason != reason) || each.ObservedGeneration != generation {
			return fmt.Errorf("%s is %s/%s at generation %d of %d: %s",
				kind, each.Status, each.Reason, each.ObservedGeneration, generation, each.Message)
		}
		return nil
	}
	return fmt.Errorf("no condition %s", kind)
}

// programmed waits until a Gateway is, and returns its address.
func programmed(t *testing.T, namespace, name string) string {
	t.Helper()
	var address string
	eventually(t, 60*time.Second, "Gateway "+name+" Programmed", func() error {
		gateway, err := read("gateways", namespace, name)
		if err != nil {
			return err
		}
		if len(gateway.Status.Addresses) == 0 {
			return fmt.Errorf("no address; conditions %+v", gateway.Status.Conditions)
		}
		address = gateway.Status.Addresses[0].Value
		return holds(gateway.Status.Conditions, "Programmed", "True", "", gateway.Metadata.Generation)
	})
	return address
}

// route waits until an HTTPRoute's first parent has the condition.
func route(t *testing.T, namespace, name, kind, status, reason string) {
	t.Helper()
	routeOf(t, "httproutes", namespace, name, kind, status, reason)
}

// routeOf is route for any kind, by the name of its resource.
func routeOf(t *testing.T, resource, namespace, name, kind, status, reason string) {
	t.Helper()
	eventually(t, soon, resource+" "+name, func() error {
		found, err := read(resource, namespace, name)
		if err != nil {
			return err
		}
		if len(found.Status.Parents) == 0 {
			return fmt.Errorf("no parent in its status")
		}
		return holds(found.Status.Parents[0].Conditions, kind, status, reason, found.Metadata.Generation)
	})
}

// Waits until the Gateway's address takes connections. Programmed tells of the first replica that has the version; that the node sends
// connections there comes a moment later. For tests whose first request must count.
func reachable(t *testing.T, address string) {
	t.Helper()
	eventually(t, soon, address+" takes connections", func() error {
		connection, err := net.DialTimeout("tcp", net.JoinHostPort(address, "80"), time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// get asks once, on a connection of its own.
func get(address, host, path string) (status int, backend string, err error) {
	answer, err := ask(address, host, path)
	if err != nil {
		return 0, "", err
	}
	return answer.StatusCode, answer.Header.Get("X-Backend"), nil
}

// ask is get for whoever wants to see all of the answer's head, or to send headers: names and values in turn.
func ask(address, host, path string, headers ...string) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	request.Host = host
	for at := 0; at < len(headers); at += 2 {
		request.Header.Set(headers[at], headers[at+1])
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}

// answers waits until a request gets the status, from the backend unless that is empty.
func answers(t *testing.T, address, host, path string, status int, backend string) {
	t.Helper()
	eventually(t, soon, fmt.Sprintf("%s%s answers %d", host, path, status), func() error {
		got, from, err := get(address, host, path)
		if err != nil {
			return err
		}
		if got != status || (backend != "" && from != backend) {
			return fmt.Errorf("status %d from %q", got, from)
		}
		return nil
	})
}

// moved waits until so many answers in a row come from one backend alone.
func moved(t *testing.T, run *load.Run, backend string) {
	t.Helper()
	eventually(t, soon, "all from "+backend, func() error {
		if window := enough(t, run, run.Count(), 50); window.Answers[backend] != window.Requests {
			return fmt.Errorf("%v of %d", window.Answers, window.Requests)
		}
		return nil
	})
}

// underLoad sends requests while `during` runs, and fails the test if one of them failed.
func underLoad(t *testing.T, spec load.Load, during func(run *load.Run)) load.Count {
	t.Helper()
	if !strings.Contains(spec.Address, ":") {
		spec.Address += ":80"
	}
	run := load.Start(t.Context(), spec)
	enough(t, run, run.Count(), 100)
	during(run)
	enough(t, run, run.Count(), 200)
	count := run.Stop()
	t.Log(count)
	if count.Failed > 0 {
		t.Errorf("requests failed under load")
	}
	return count
}

// enough waits for a number of further requests and returns what came of them.
func enough(t *testing.T, run *load.Run, since load.Count, number int) load.Count {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("%d requests", number), func() error {
		if got := run.Count().Requests - since.Requests; got < number {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
	return run.Count().Since(since)
}

// list is the names of all objects that a path of the API lists.
func list(t *testing.T, path string) []string {
	t.Helper()
	var found struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := api.Get(t.Context(), path, &found); err != nil && !kube.IsNotFound(err) {
		t.Fatal(err)
	}
	var names []string
	for _, item := range found.Items {
		names = append(names, item.Metadata.Name)
	}
	return names
}

func asJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
