package scenarios

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"portcullis.dev/e2e/load"
)

// controllerAway takes every controller away; back, or the end of the test, brings them back.
func controllerAway(t *testing.T) (back func()) {
	t.Helper()
	var deployment struct{ Spec struct{ Replicas int } }
	asJSON(t, kubectl(t, "get", "deployment", "-n", system, "portcullis-controller", "-o", "json"), &deployment)
	replicas := fmt.Sprintf("--replicas=%d", max(deployment.Spec.Replicas, 1))
	back = func() {
		kubectl(t, "scale", "-n", system, "deployment/portcullis-controller", replicas)
		ready(t, system, "portcullis-controller")
	}
	t.Cleanup(back)
	kubectl(t, "scale", "-n", system, "deployment/portcullis-controller", "--replicas=0")
	// Not by force: that takes the object away at once, while its process goes on for a moment.
	eventually(t, soon, "no controller", func() error { return count(t, system, controllers, 0) })
	return back
}

// Every controller pod is killed under load: traffic goes on, backends still come and go once they are back, and a
// change made meanwhile takes effect.
func TestControllersKilledUnderLoad(t *testing.T) {
	namespace, address := fronted(t)
	apply(t, namespace, backend("later", 1))
	ready(t, namespace, "later")
	underLoad(t, load.Load{Address: address, Host: "app.example"}, func(run *load.Run) {
		kubectl(t, "delete", "pods", "-n", system, "-l", controllers, "--force", "--grace-period=0")
		ready(t, system, "portcullis-controller")
		back := controllerAway(t)
		enough(t, run, run.Count(), 1000)
		apply(t, namespace, httpRoute("later", "NAMESPACE/front", "later.example", "later"))
		if status, _, err := get(address, "later.example", "/"); err != nil || status != http.StatusNotFound {
			t.Errorf("a route that no controller has seen answers %d, %v", status, err)
		}
		back()
		answers(t, address, "later.example", "/", http.StatusOK, "later")
	})
}

// A data-plane container that crashes while no controller is there comes back with what it last served.
func TestDataPlaneRestartsWithoutController(t *testing.T) {
	namespace, address := fronted(t)
	controllerAway(t)
	victim := pods(t, namespace, ofGateway("front"))[0]
	old := containerID(victim)
	kill(t, victim)
	// The figure to reach is 300 ms. It is told, not asserted: a busy machine must not fail a test.
	t.Logf("200 after %s from exec", timeToServe(t, namespace, victim, old).Round(time.Millisecond))
	answers(t, address, "app.example", "/", http.StatusOK, "app")
}

// timeToServe is the time from the start of a pod's new process to its first 200; an answer of another kind, such as
// 404 for a known route, is an error. The pod is asked itself: the Service leaves it out until it is ready.
func timeToServe(t *testing.T, namespace string, restarted pod, old string) time.Duration {
	t.Helper()
	address := restarted.Status.PodIP + ":80"
	eventually(t, soon, "the old process gone", func() error {
		if _, _, err := get(address, "app.example", "/"); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	var served time.Duration
	deadline := time.Now().Add(time.Minute)
	for served == 0 {
		status, _, err := get(address, "app.example", "/")
		switch {
		case err == nil && status == http.StatusOK:
			served = uptime(t)
		case err == nil:
			t.Fatalf("a restarted data plane answered %d for a known route", status)
		case time.Now().After(deadline):
			t.Fatalf("the data plane does not come back: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	var id string
	eventually(t, soon, "new container known", func() error {
		for _, each := range pods(t, namespace, ofGateway("front")) {
			if each.Metadata.Name == restarted.Metadata.Name && len(each.Status.ContainerStatuses) > 0 {
				id = containerID(each)
			}
		}
		if id == "" || id == old {
			return errors.New("its status still names the old one")
		}
		return nil
	})
	return served - started(t, id)
}

// started is when a container's process was made, since boot.
func started(t *testing.T, id string) time.Duration {
	t.Helper()
	for line := range strings.Lines(containerd(t, "tasks", "list")) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != id {
			continue
		}
		stat, err := os.ReadFile("/proc/" + fields[1] + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		// Field 22, in hundredths of a second; the name in field 2 may hold spaces.
		rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		ticks, err := strconv.ParseInt(rest[19], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ticks) * 10 * time.Millisecond
	}
	t.Fatalf("containerd has no task %s", id)
	return 0
}

func uptime(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}
