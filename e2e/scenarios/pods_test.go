package scenarios

import (
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// ofGateway selects what Portcullis made for a Gateway.
func ofGateway(name string) string { return "gateway.networking.k8s.io/gateway-name=" + name }

type pod struct {
	Metadata struct{ Name, DeletionTimestamp string }
	Status   struct {
		PodIP             string
		ContainerStatuses []struct {
			Name, ContainerID string
			RestartCount      int
			Ready             bool
		}
	}
}

func pods(t *testing.T, namespace, selector string) []pod {
	t.Helper()
	var found struct{ Items []pod }
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods?labelSelector=%s", namespace, url.QueryEscape(selector))
	if err := api.Get(t.Context(), path, &found); err != nil {
		t.Fatal(err)
	}
	return found.Items
}

// count says whether exactly so many pods exist.
func count(t *testing.T, namespace, selector string, want int) error {
	t.Helper()
	if got := len(pods(t, namespace, selector)); got != want {
		return fmt.Errorf("%d pods, want %d", got, want)
	}
	return nil
}

// gone says whether none of the pods is left.
func gone(t *testing.T, namespace, selector string, before []pod) error {
	t.Helper()
	for _, each := range pods(t, namespace, selector) {
		if slices.ContainsFunc(before, func(old pod) bool { return old.Metadata.Name == each.Metadata.Name }) {
			return fmt.Errorf("%s is still there", each.Metadata.Name)
		}
	}
	return nil
}

// containerd asks the node's container runtime.
func containerd(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command(layout.Bin+"/ctr", append([]string{"--address", layout.ContainerdSocket(), "-n", "k8s.io"}, args...)...)
	output, err := command.Output()
	if err != nil {
		t.Fatalf("ctr %s: %v", strings.Join(args, " "), err)
	}
	return string(output)
}

// kill ends a pod's first container as a crash would.
func kill(t *testing.T, victim pod) {
	t.Helper()
	containerd(t, "tasks", "kill", "-s", "SIGKILL", containerID(victim))
}

func containerID(of pod) string {
	return strings.TrimPrefix(of.Status.ContainerStatuses[0].ContainerID, "containerd://")
}
