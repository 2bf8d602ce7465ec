package main

import (
	"fmt"
	"strings"

	"portcullis.dev/e2e/cluster"
)

// sameRelease refuses a cluster whose CRDs are of another release than the suite, and says how to get the right one.
func sameRelease(layout cluster.Layout, suite string) error {
	// A cluster that is not there is told by kubectl.
	version, err := kubectl(layout, "get", "crd", "gateways.gateway.networking.k8s.io", "-o",
		`jsonpath={.metadata.annotations.gateway\.networking\.k8s\.io/bundle-version}`)
	if err != nil {
		return fmt.Errorf("is the cluster up ('make cluster')? %w", err)
	}
	if version != "v"+suite {
		return fmt.Errorf("the cluster has CRDs of Gateway API %s, and the suite is %s: 'make conformance SUITE=%s' makes the right cluster",
			version, suite, suite)
	}
	return nil
}

// published are the features of our GatewayClass's status.
func published(layout cluster.Layout) (string, error) {
	features, err := kubectl(layout, "get", "gatewayclass", "portcullis", "-o", "jsonpath={.status.supportedFeatures[*].name}")
	return strings.Join(strings.Fields(features), ","), err
}

// clean removes the namespaces of an earlier run, and waits until they are gone: the suite does not wait for what it
// deletes, and cannot create anything in a namespace that is being deleted.
func clean(layout cluster.Layout) error {
	names, err := kubectl(layout, "get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return err
	}
	left := ofSuite(strings.Fields(names))
	if len(left) == 0 {
		return nil
	}
	fmt.Printf("  removing what an earlier run has left: %s\n", strings.Join(left, " "))
	_, err = kubectl(layout, append([]string{"delete", "namespaces", "--ignore-not-found", "--timeout=240s"}, left...)...)
	return err
}

// ofSuite picks the namespaces that the suite and its tests make.
func ofSuite(namespaces []string) []string {
	var own []string
	for _, each := range namespaces {
		if strings.HasPrefix(each, "gateway-conformance-") || strings.HasPrefix(each, "gateway-api-") {
			own = append(own, each)
		}
	}
	return own
}

func kubectl(layout cluster.Layout, args ...string) (string, error) {
	command := layout.Kubectl(args...)
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
