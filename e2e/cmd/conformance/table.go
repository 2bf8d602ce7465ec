package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	passed  = "pass"
	failed  = "FAIL"
	skipped = "skip"
)

type result struct {
	name, outcome, took string
	reason              string // of a skipped one: the feature that we do not claim
}

type results []result

var (
	ended   = regexp.MustCompile(`^    --- (PASS|FAIL|SKIP): TestConformance/(\S+) \((\S+)\)$`)
	refused = regexp.MustCompile(`Skipping (\S+): (?:suite does not support (\S+)|test explicitly skipped)`)
)

// parse reads one line of the suite's output: the end of a test, not of its parts.
func parse(line string) (result, bool) {
	match := ended.FindStringSubmatch(line)
	if match == nil || strings.Contains(match[2], "/") {
		return result{}, false
	}
	outcome := map[string]string{"PASS": passed, "FAIL": failed, "SKIP": skipped}[match[1]]
	return result{name: match[2], outcome: outcome, took: match[3]}, true
}

// reason notes why a test was skipped; the suite says so on a line of its own, before or after the end of the test.
func (r *results) reason(line string) {
	match := refused.FindStringSubmatch(line)
	if match == nil {
		return
	}
	*r = append(*r, result{name: match[1], reason: match[2]})
}

// table is the summary; one test run alone lists nothing of the others.
func (r results) table(alone bool) string {
	reasons := map[string]string{}
	byOutcome := map[string][]string{}
	for _, each := range r {
		if each.outcome == "" {
			reasons[each.name] = each.reason
		} else {
			byOutcome[each.outcome] = append(byOutcome[each.outcome], each.name)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n  %d passed, %d failed", len(byOutcome[passed]), len(byOutcome[failed]))
	if !alone {
		fmt.Fprintf(&text, ", %d unsupported", len(byOutcome[skipped]))
	}
	text.WriteString("\n")
	slices.Sort(byOutcome[failed])
	for _, name := range byOutcome[failed] {
		fmt.Fprintf(&text, "  FAIL         %s\n", name)
	}
	if alone {
		return text.String()
	}
	slices.Sort(byOutcome[skipped])
	for _, name := range byOutcome[skipped] {
		fmt.Fprintf(&text, "  unsupported  %s (%s)\n", name, reasons[name])
	}
	return text.String()
}

type status struct {
	Result     string
	Statistics struct{ Passed, Skipped, Failed int }
}

type profileReport struct {
	Name     string
	Core     status
	Extended *struct {
		status              `json:",inline"`
		SupportedFeatures   []string
		UnsupportedFeatures []string
	}
}

// profiles is the suite's own report, one line for each profile.
func profiles(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("the suite wrote no report: %w", err)
	}
	var report struct{ Profiles []profileReport }
	if err := yaml.Unmarshal(text, &report); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	var lines strings.Builder
	count := func(of status) string {
		return fmt.Sprintf("%s (%d passed, %d failed, %d skipped)", of.Result, of.Statistics.Passed, of.Statistics.Failed, of.Statistics.Skipped)
	}
	for _, profile := range report.Profiles {
		fmt.Fprintf(&lines, "\n  %s\n    core      %s\n", profile.Name, count(profile.Core))
		if extended := profile.Extended; extended != nil {
			fmt.Fprintf(&lines, "    extended  %s\n    features  %d supported, %d not: %s\n", count(extended.status),
				len(extended.SupportedFeatures), len(extended.UnsupportedFeatures), strings.Join(extended.UnsupportedFeatures, " "))
		}
	}
	fmt.Fprintf(&lines, "\nreport: %s\n", path)
	return lines.String(), nil
}
