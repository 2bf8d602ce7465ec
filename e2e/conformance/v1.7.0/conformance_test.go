// Package conformance runs the upstream suite, unmodified: its own flags, its own embedded manifests.
package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
