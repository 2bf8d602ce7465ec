package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"portcullis.dev/e2e/report"
)

// suite is one release of the Gateway API that we run the suite of, and the reports that are kept for it.
type suite struct {
	version string // with its v
	reports []report.Report
}

func (s suite) folder(root string) string { return filepath.Join(root, reports, s.version) }

// suites are those that e2e/conformance has, with the newest report of each channel and mode first.
func suites(root string) ([]suite, error) {
	entries, err := os.ReadDir(filepath.Join(root, "e2e", "conformance"))
	if err != nil {
		return nil, err
	}
	var all []suite
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		each := suite{version: entry.Name()}
		paths, err := filepath.Glob(filepath.Join(each.folder(root), "*-report.yaml"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			found, err := report.Read(path)
			if err != nil {
				return nil, err
			}
			if name := found.FileName(); name != filepath.Base(path) || found.GatewayAPIVersion != each.version {
				return nil, fmt.Errorf("%s is the report of Gateway API %s and should be %s", path, found.GatewayAPIVersion, name)
			}
			each.reports = append(each.reports, found)
		}
		slices.SortFunc(each.reports, func(a, b report.Report) int {
			return cmp.Or(cmp.Compare(b.Date, a.Date), cmp.Compare(a.FileName(), b.FileName()))
		})
		all = append(all, each)
	}
	return all, nil
}

// newest is one report for each channel and mode.
func (s suite) newest() []report.Report {
	var kept []report.Report
	for _, each := range s.reports {
		same := func(other report.Report) bool {
			return other.GatewayAPIChannel == each.GatewayAPIChannel && other.Mode == each.Mode
		}
		if !slices.ContainsFunc(kept, same) {
			kept = append(kept, each)
		}
	}
	return kept
}

func (s suite) link() string {
	page := filepath.ToSlash(filepath.Join(reports, s.version, "README.md"))
	return fmt.Sprintf("[%s](%s)", strings.TrimPrefix(s.version, "v"), page)
}

// table is README.md's: one line for each profile of each suite.
func table(suites []suite) string {
	var text strings.Builder
	text.WriteString("| Suite | Profile | Core tests | Extended tests | Extended features |\n|---|---|---|---|---|\n")
	for _, suite := range suites {
		newest := suite.newest()
		if len(newest) == 0 {
			fmt.Fprintf(&text, "| %s | not run | | | |\n", suite.link())
		}
		for _, each := range newest {
			name := fmt.Sprintf("%s, %s channel, %s", suite.link(), each.GatewayAPIChannel, each.Implementation.Version)
			if each.Mode != "default" {
				name += ", mode " + each.Mode
			}
			for _, profile := range each.Profiles {
				fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", name, profile.Name, outcome(profile.Core), extended(profile.Extended))
				name = ""
			}
		}
	}
	return text.String()
}

func outcome(status report.Status) string {
	count := status.Statistics
	text := fmt.Sprintf("%d of %d", count.Passed, count.Passed+count.Failed+count.Skipped)
	if others := slices.Concat(status.FailedTests, status.SkippedTests); len(others) > 0 {
		text += ", not " + strings.Join(others, ", ")
	}
	return text
}

func extended(of *report.Extended) string {
	if of == nil {
		return "none | none"
	}
	supported, missing := len(of.SupportedFeatures), of.UnsupportedFeatures
	text := fmt.Sprintf("%s | %d of %d", outcome(of.Status), supported, supported+len(missing))
	if len(missing) > 0 {
		text += ", not " + strings.Join(missing, ", ")
	}
	return text
}

// contents is the table that upstream asks for in the README.md beside the reports.
func (s suite) contents() string {
	text := "| API channel | Implementation version | Mode | Report |\n|---|---|---|---|\n"
	for _, each := range s.reports {
		version := each.Implementation.Version
		text += fmt.Sprintf("| %s | [%s](%s/releases/tag/%s) | %s | [%s report](./%s) |\n", each.GatewayAPIChannel,
			version, each.Implementation.URL, version, each.Mode, version, each.FileName())
	}
	return text
}

var (
	constant = regexp.MustCompile(`(?s)const \w*FEATURES\w*:[^=]*=\s*&?\[(.*?)\];`)
	comment  = regexp.MustCompile(`//.*`)
	literal  = regexp.MustCompile(`"([A-Za-z0-9]+)"`)
)

// features are the names in the constants of the class that list them.
func features(path string) ([]string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, list := range constant.FindAllSubmatch(source, -1) {
		for _, name := range literal.FindAllSubmatch(comment.ReplaceAll(list[1], nil), -1) {
			names = append(names, string(name[1]))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no constant …FEATURES… with names in it: say in e2e/cmd/support where they are", path)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// width is where the lines of README.md end.
const width = 200

func featureList(names []string) string {
	words := strings.Fields("Features of the Gateway API by the names of its conformance suite, as the GatewayClass's " +
		"status publishes them where the installed CRDs have them: " + strings.Join(names, ", ") + ".")
	var text strings.Builder
	column := 0
	for index, word := range words {
		switch {
		case index == 0:
		case column+1+len(word) > width:
			text.WriteByte('\n')
			column = 0
		default:
			text.WriteByte(' ')
			column++
		}
		text.WriteString(word)
		column += len(word)
	}
	return text.String() + "\n"
}
