package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	passed  = "pass"
	failed  = "FAIL"
	skipped = "skip"
)

type result struct {
	name, outcome, took string
	part                string // of a test: a failed one tells what in it failed
	reason              string // of a skipped one: the feature that we do not claim
}

type results []result

var (
	ended   = regexp.MustCompile(`^ +--- (PASS|FAIL|SKIP): TestConformance/(\S+) \((\S+)\)$`)
	refused = regexp.MustCompile(`Skipping (\S+): (?:suite does not support (\S+)|test explicitly skipped)`)
)

// parse reads one line of the suite's output: the end of a test, or of a part that failed.
func parse(line string) (result, bool) {
	match := ended.FindStringSubmatch(line)
	if match == nil {
		return result{}, false
	}
	name, part, _ := strings.Cut(match[2], "/")
	outcome := map[string]string{"PASS": passed, "FAIL": failed, "SKIP": skipped}[match[1]]
	return result{name: name, part: part, outcome: outcome, took: match[3]}, part == "" || outcome == failed
}

// reason notes why a test was skipped; the suite says so on a line of its own, before or after the end of the test.
func (r *results) reason(line string) {
	match := refused.FindStringSubmatch(line)
	if match == nil {
		return
	}
	*r = append(*r, result{name: match[1], reason: match[2]})
}

// lastWords is what the suite said before it ended: of one that ran out of time, which test it was at, rather than the
// stacks of all its threads.
func lastWords(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if late := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "panic: ") }); late >= 0 {
		return strings.Join(lines[max(0, late-3):min(len(lines), late+4)], "\n")
	}
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// ofOutcome are the tests, not their parts, that ended so; sorted.
func (r results) ofOutcome(outcome string) []string {
	var names []string
	for _, each := range r {
		if each.part == "" && each.outcome == outcome {
			names = append(names, each.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r results) failed() []string { return r.ofOutcome(failed) }

// table is the summary; of a selection of tests it lists nothing of the others.
func (r results) table(selection bool) string {
	reasons, parts := map[string]string{}, map[string][]string{}
	for _, each := range r {
		if each.reason != "" {
			reasons[each.name] = each.reason
		}
		if each.part != "" {
			parts[each.name] = append(parts[each.name], each.part)
		}
	}
	unsupported := r.ofOutcome(skipped)
	var text strings.Builder
	fmt.Fprintf(&text, "\n  %d passed, %d failed", len(r.ofOutcome(passed)), len(r.failed()))
	if !selection {
		fmt.Fprintf(&text, ", %d unsupported", len(unsupported))
	}
	text.WriteString("\n")
	for _, name := range r.failed() {
		fmt.Fprintf(&text, "  FAIL         %s\n", name)
		for _, part := range parts[name] {
			fmt.Fprintf(&text, "                 %s\n", strings.ReplaceAll(part, "_", " "))
		}
	}
	for _, name := range unsupported {
		if reason := reasons[name]; reason != "" || !selection {
			fmt.Fprintf(&text, "  unsupported  %s (%s)\n", name, reason)
		}
	}
	return text.String()
}

// tally counts in how many runs a test failed.
type tally map[string]int

func (t tally) add(names []string) {
	for _, name := range names {
		t[name]++
	}
}

func (t tally) String(runs int) string {
	if len(t) == 0 {
		return fmt.Sprintf("\n  no test failed in any of %d runs\n", runs)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n  of %d runs failed\n", runs)
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if t[a] != t[b] {
			return t[b] - t[a]
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		kind := "always"
		if t[name] < runs {
			kind = "a flake"
		}
		fmt.Fprintf(&text, "  %5d  %s (%s)\n", t[name], name, kind)
	}
	return text.String()
}
