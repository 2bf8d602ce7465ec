package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkout is the little of a checkout that the command looks at.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"README.md":                            "# Title\n" + begin + "old\n" + end + "more\n",
		"conformance/reports/v1.6.3/README.md": "one\n" + begin + end,
		"conformance/reports/v1.7.0/README.md": "two\n" + begin + end,
		"e2e/conformance/v1.6.3/go.mod":        "",
		"e2e/conformance/v1.7.0/go.mod":        "",
		"controller/translate/src/features.rs": "pub const SUPPORTED_FEATURES: [&str; 2] = [\n    \"HTTPRoute\",\n    \"Gateway\", // \"core\"\n];\n" +
			"const EXPERIMENTAL_FEATURES: &[&str] = &[\"HTTPRouteRetry\"];\nlet other = [\"Nothing\"];\n",
	} {
		put(t, filepath.Join(root, path), text)
	}
	return root
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func written(date, version string) string {
	report := `apiVersion: gateway.networking.k8s.io/v1
date: "` + date + `"
gatewayAPIChannel: experimental
gatewayAPIVersion: v1.6.3
implementation: {contact: [https://example.org/issues], organization: example, project: example, url: https://example.org, version: ` + version + `}
kind: ConformanceReport
mode: default
profiles:
`
	for _, profile := range []string{"GATEWAY-UDP", "GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP"} {
		report += `- core: {result: success, statistics: {Failed: 0, Passed: 36, Skipped: 0}}
  extended:
    result: success
    statistics: {Failed: 0, Passed: 58, Skipped: 0}
    supportedFeatures: [A, B]
    unsupportedFeatures: [C]
  name: ` + profile + "\n"
	}
	return report
}

func TestAReportIsKeptAndShown(t *testing.T) {
	root := checkout(t)
	if err := command(root, []string{"check"}); err == nil || !strings.Contains(err.Error(), "README.md") {
		t.Errorf("README.md is stale, and check says %v", err)
	}
	if err := command(root, []string{"write"}); err != nil {
		t.Fatal(err)
	}
	readme := text(t, filepath.Join(root, "README.md"))
	for _, want := range []string{
		"# Title\n", "more\n", "| [1.6.3](conformance/reports/v1.6.3/README.md) | not run | | | |\n",
		"| [1.7.0](conformance/reports/v1.7.0/README.md) | not run | | | |\n", "Gateway, HTTPRoute, HTTPRouteRetry.\n",
	} {
		if !strings.Contains(readme, want) {
			t.Errorf("%q lacks %q", readme, want)
		}
	}
	if strings.Contains(readme, "old") || strings.Contains(readme, "core") || strings.Contains(readme, "Nothing") {
		t.Errorf("%q has too much", readme)
	}
	if err := command(root, []string{"check"}); err != nil {
		t.Error(err)
	}

	older, newer := filepath.Join(root, "older.yaml"), filepath.Join(root, "newer.yaml")
	put(t, older, written("2026-06-29T15:04:40Z", "v0.1.0"))
	put(t, newer, written("2026-07-29T15:04:40Z", "v0.2.0"))
	for _, each := range []string{newer, older} {
		if err := command(root, []string{"keep", each}); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(root, "conformance/reports/v1.6.3")
	if text(t, filepath.Join(kept, "experimental-v0.2.0-default-report.yaml")) != text(t, newer) {
		t.Error("the report was changed")
	}
	readme = text(t, filepath.Join(root, "README.md"))
	want := "| [1.6.3](conformance/reports/v1.6.3/README.md), experimental channel, v0.2.0 | GATEWAY-HTTP | 36 of 36 | 58 of 58 | 2 of 3, not C |\n" +
		"|  | GATEWAY-GRPC | 36 of 36 |"
	if !strings.Contains(readme, want) || strings.Contains(readme, "v0.1.0") || strings.Count(readme, "\n|  | GATEWAY-") != 4 {
		t.Errorf("%s", readme)
	}
	contents := text(t, filepath.Join(kept, "README.md"))
	for _, want := range []string{
		"one\n", "| experimental | [v0.2.0](https://example.org/releases/tag/v0.2.0) | default | [v0.2.0 report](./experimental-v0.2.0-default-report.yaml) |\n", "v0.1.0",
	} {
		if !strings.Contains(contents, want) {
			t.Errorf("%q lacks %q", contents, want)
		}
	}
	if err := command(root, []string{"check"}); err != nil {
		t.Error(err)
	}
	put(t, filepath.Join(kept, "experimental-v0.2.0-default-report.yaml"), strings.Replace(text(t, newer), "Passed: 36", "Passed: 37", 1))
	if err := command(root, []string{"check"}); err == nil {
		t.Error("the report has changed, README.md has not, and check is content")
	}
}

func TestWhatIsNoProofIsNotKept(t *testing.T) {
	root := checkout(t)
	for name, report := range map[string]string{
		"failed":  strings.Replace(written("2026-06-29T15:04:40Z", "v0.1.0"), "result: success, statistics: {Failed: 0", "result: failure, statistics: {Failed: 1", 1),
		"lacking": strings.Replace(written("2026-06-29T15:04:40Z", "v0.1.0"), "GATEWAY-UDP", "MESH-HTTP", 1),
		"branch":  written("2026-06-29T15:04:40Z", "main"),
		"unknown": strings.Replace(written("2026-06-29T15:04:40Z", "v0.1.0"), "v1.6.3", "v1.9.0", 1),
	} {
		path := filepath.Join(root, name)
		put(t, path, report)
		if err := command(root, []string{"keep", path}); err == nil {
			t.Errorf("%s was kept", name)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(root, "conformance/reports/*/*.yaml")); len(found) > 0 {
		t.Errorf("kept: %v", found)
	}
	put(t, filepath.Join(root, "conformance/reports/v1.6.3/mine-report.yaml"), written("2026-06-29T15:04:40Z", "v0.1.0"))
	if err := command(root, []string{"check"}); err == nil {
		t.Error("a report under a name of its own must be told")
	}
}

func TestFeaturesThatCannotBeFoundAreTold(t *testing.T) {
	root := checkout(t)
	put(t, filepath.Join(root, "controller/translate/src/features.rs"), "pub fn features() {}\n")
	if err := command(root, []string{"write"}); err == nil {
		t.Error("README.md would name no feature")
	}
}

func TestLinesEnd(t *testing.T) {
	var names []string
	for range 60 {
		names = append(names, "HTTPRouteRequestMultipleMirrors")
	}
	for line := range strings.Lines(featureList(names)) {
		if len(line) > width+1 {
			t.Errorf("%d columns", len(line))
		}
	}
}
