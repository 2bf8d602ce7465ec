package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `apiVersion: gateway.networking.k8s.io/v1
date: "2026-06-29T15:04:40Z"
gatewayAPIChannel: experimental
gatewayAPIVersion: v1.6.3
implementation:
  contact: [https://example.org/issues]
  organization: example
  project: example
  url: https://example.org
  version: v0.1.0
kind: ConformanceReport
mode: default
profiles:
- core: {result: success, statistics: {Failed: 0, Passed: 19, Skipped: 0}}
  name: GATEWAY-TLS
  summary: Core tests succeeded.
- core: {result: success, statistics: {Failed: 0, Passed: 36, Skipped: 0}}
  extended:
    result: failure
    statistics: {Failed: 1, Passed: 20, Skipped: 1}
    failedTests: [HTTPRouteCORS]
    skippedTests: [HTTPRouteRetry]
    supportedFeatures: [HTTPRouteCORS, HTTPRouteRetry]
    unsupportedFeatures: [ListenerSet]
  name: GATEWAY-HTTP
  summary: Extended tests failed with 1 test failures.
`

func read(t *testing.T, text string) (Report, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(path)
}

func TestTable(t *testing.T) {
	report, err := read(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(report.Table()) {
		rows = append(rows, strings.Fields(line))
	}
	want := [][]string{
		{"core", "extended", "features"},
		{"profile", "passed", "failed", "skipped", "passed", "failed", "skipped", "supported", "not"},
		{"GATEWAY-HTTP", "36", "0", "0", "20", "1", "1", "2", "1"},
		{"GATEWAY-TLS", "19", "0", "0", "0", "0", "0", "0", "0"},
		{"GATEWAY-HTTP", "does", "not", "have:", "ListenerSet"},
	}
	if !slices.EqualFunc(rows, want, slices.Equal[[]string]) {
		t.Errorf("got\n%s", report.Table())
	}
	if failed := report.Failed(); !slices.Equal(failed, []string{"HTTPRouteCORS"}) {
		t.Errorf("failed: %v", failed)
	}
	if name := report.FileName(); name != "experimental-v0.1.0-default-report.yaml" {
		t.Errorf("file name %s", name)
	}
}

func TestProblems(t *testing.T) {
	good := strings.NewReplacer("result: failure", "result: success", "Failed: 1", "Failed: 0", "Skipped: 1", "Skipped: 0").Replace(sample)
	both := []string{"GATEWAY-HTTP", "GATEWAY-TLS"}
	for name, test := range map[string]struct {
		text     string
		profiles []string
		want     string // a part of the only complaint; none if empty
	}{
		"full conformance":     {good, both, ""},
		"a failure":            {sample, both, "GATEWAY-HTTP extended: failure, 1 failed, 1 skipped HTTPRouteCORS HTTPRouteRetry"},
		"not asked for":        {sample, []string{"GATEWAY-TLS"}, ""},
		"a profile is missing": {good, []string{"GATEWAY-UDP"}, "GATEWAY-UDP is not in the report"},
		"nothing has run":      {strings.Replace(good, "Passed: 19", "Passed: 0", 1), both, "GATEWAY-TLS core: no test has passed"},
		"a branch":             {strings.Replace(good, "v0.1.0", "main", 1), both, `"main" is no release`},
		"a relative page":      {strings.Replace(good, "https://example.org\n", "example.org\n", 1), both, "no absolute https URL"},
		"an insecure page":     {strings.Replace(good, "https://example.org\n", "http://example.org\n", 1), both, "no absolute https URL"},
		"nobody to ask":        {strings.Replace(good, "[https://example.org/issues]", "[]", 1), both, "no organization, project or contact"},
		"mixed CRDs":           {strings.Replace(good, "v1.6.3", "UNDEFINED", 1), both, "gatewayAPIVersion"},
		"of no channel":        {strings.Replace(good, "experimental", "beta", 1), both, "gatewayAPIChannel"},
		"of no date":           {strings.Replace(good, "2026-06-29T15:04:40Z", "today", 1), both, "date"},
		"a mode with a folder": {strings.Replace(good, "mode: default", "mode: a/b", 1), both, "mode"},
	} {
		report, err := read(t, test.text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := report.Problems(test.profiles)
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestWhatIsNoReport(t *testing.T) {
	for _, text := range []string{"", "kind: ConfigMap", "a: [", "kind: ConformanceReport\nprofiles: 3"} {
		if _, err := read(t, text); err == nil {
			t.Errorf("%q was taken for a report", text)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a missing report must be an error")
	}
}
