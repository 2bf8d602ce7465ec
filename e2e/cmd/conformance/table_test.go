package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	output := `=== RUN   TestConformance/HTTPRouteWeight
    --- PASS: TestConformance/HTTPRouteWeight (1.50s)
        --- PASS: TestConformance/HTTPRouteWeight/Requests_should_have_a_distribution (1.40s)
    --- FAIL: TestConformance/HTTPRouteCORS (30.00s)
        --- FAIL: TestConformance/HTTPRouteCORS/part (30.00s)
    conformance.go:56: Skipping HTTPRouteRetry: suite does not support HTTPRouteRetry
    --- SKIP: TestConformance/HTTPRouteRetry (0.00s)
--- FAIL: TestConformance (33.00s)`
	var all results
	for line := range strings.Lines(output) {
		if each, is := parse(strings.TrimRight(line, "\n")); is {
			all = append(all, each)
		}
		all.reason(line)
	}
	want := "\n  1 passed, 1 failed, 1 unsupported\n  FAIL         HTTPRouteCORS\n  unsupported  HTTPRouteRetry (HTTPRouteRetry)\n"
	if got := all.table(false); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := all.table(true); !strings.HasSuffix(got, "1 passed, 1 failed\n  FAIL         HTTPRouteCORS\n") {
		t.Errorf("one test alone: %q", got)
	}
}

func TestProfiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.yaml")
	report := `
profiles:
- name: GATEWAY-HTTP
  core: {result: success, statistics: {Passed: 36, Skipped: 0, Failed: 0}}
  extended:
    result: success
    statistics: {Passed: 20, Skipped: 1, Failed: 2}
    supportedFeatures: [A, B]
    unsupportedFeatures: [C]
`
	if err := os.WriteFile(path, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := profiles(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"core      success (36 passed, 0 failed", "(20 passed, 2 failed, 1 skipped)", "2 supported, 1 not: C"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if _, err := profiles(path + ".missing"); err == nil {
		t.Error("a missing report must be an error")
	}
}
