package main

import (
	"slices"
	"strings"
	"testing"

	"portcullis.dev/e2e/cluster"
)

const output = `=== RUN   TestConformance/HTTPRouteWeight
    --- PASS: TestConformance/HTTPRouteWeight (1.50s)
        --- PASS: TestConformance/HTTPRouteWeight/Requests_should_have_a_distribution (1.40s)
    --- FAIL: TestConformance/HTTPRouteCORS (30.00s)
        --- FAIL: TestConformance/HTTPRouteCORS/a_part (30.00s)
            --- FAIL: TestConformance/HTTPRouteCORS/a_part/of_it (30.00s)
    conformance.go:56: Skipping HTTPRouteRetry: suite does not support HTTPRouteRetry
    --- SKIP: TestConformance/HTTPRouteRetry (0.00s)
    conformance.go:62: Skipping GatewayModifyListeners: test explicitly skipped
    --- SKIP: TestConformance/GatewayModifyListeners (0.00s)
--- FAIL: TestConformance (33.00s)`

func TestTable(t *testing.T) {
	var all results
	for line := range strings.Lines(output) {
		if each, is := parse(strings.TrimRight(line, "\n")); is {
			all = append(all, each)
		}
		all.reason(line)
	}
	want := "\n  1 passed, 1 failed, 2 unsupported\n  FAIL         HTTPRouteCORS\n" +
		"                 a part\n                 a part/of it\n" +
		"  unsupported  GatewayModifyListeners ()\n  unsupported  HTTPRouteRetry (HTTPRouteRetry)\n"
	if got := all.table(false); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Of a selection, those that were not selected are no news; what could not be run is.
	selected := all.table(true)
	if !strings.Contains(selected, "1 passed, 1 failed\n") || strings.Contains(selected, "GatewayModifyListeners") ||
		!strings.Contains(selected, "unsupported  HTTPRouteRetry") {
		t.Errorf("a selection: %q", selected)
	}
	if got := all.failed(); !slices.Equal(got, []string{"HTTPRouteCORS"}) {
		t.Errorf("failed: %v", got)
	}
}

func TestLastWordsNameTheTestThatTookTooLong(t *testing.T) {
	log := "one\ntwo\nthree\nfour\npanic: test timed out after 1h15m0s\n\trunning tests:\n\t\tTestConformance/UDPRoute (2m0s)\n\n" +
		strings.Repeat("goroutine 1 [running]:\n", 100)
	got := lastWords(log)
	if !strings.Contains(got, "four\n") || !strings.Contains(got, "TestConformance/UDPRoute") || strings.Contains(got, "goroutine") {
		t.Errorf("got %q", got)
	}
	if got := lastWords("one\ntwo\n"); got != "one\ntwo" {
		t.Errorf("got %q", got)
	}
}

func TestTallyTellsFlakesFromFailures(t *testing.T) {
	tally := tally{}
	tally.add([]string{"Bad", "Flaky"})
	tally.add([]string{"Bad"})
	got := tally.String(2)
	if !strings.HasSuffix(got, "2  Bad (always)\n      1  Flaky (a flake)\n") {
		t.Errorf("got %q", got)
	}
}

func TestAWholeRunIsToldNoFeaturesAndSkipsNothing(t *testing.T) {
	flags, err := selection(cluster.Layout{}, options{version: "v1.2.3"}, "/out/report.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(flags, " ")
	for _, forbidden := range []string{"-skip", "-supported-features", "-exempt-features", "-all-features", "-run-test", "-disable-parallel"} {
		if strings.Contains(all, forbidden) {
			t.Errorf("%s in %s", forbidden, all)
		}
	}
	for _, wanted := range []string{"-url=https://", "-version=v1.2.3", "-report-output=/out/report.yaml"} {
		if !strings.Contains(all, wanted) {
			t.Errorf("%s is not in %s", wanted, all)
		}
	}
}

func TestNamespacesOfTheSuite(t *testing.T) {
	given := []string{"default", "gateway-conformance-infra", "kube-system", "gateway-api-ls-cross-ns", "portcullis-system", "e2e-canary", "gateway"}
	if got := ofSuite(given); !slices.Equal(got, []string{"gateway-conformance-infra", "gateway-api-ls-cross-ns"}) {
		t.Errorf("got %v", got)
	}
}
