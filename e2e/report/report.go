// Package report reads the reports that the upstream conformance suite writes, judges them as upstream does, and shows
// them.
package report

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"
)

// Profiles are all that there are for a Gateway, in the order in which they are shown.
var Profiles = []string{"GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"}

// Report is the suite's file.
type Report struct {
	Kind, Date, Mode                     string
	GatewayAPIVersion, GatewayAPIChannel string
	Implementation                       struct {
		Organization, Project, URL, Version string
		Contact                             []string
	}
	Profiles []Profile
}

// Profile is what came of the tests of one profile.
type Profile struct {
	Name     string
	Core     Status
	Extended *Extended
}

// Status is what came of the tests that count as core, or as extended.
type Status struct {
	Result                    string
	Statistics                struct{ Passed, Skipped, Failed int }
	SkippedTests, FailedTests []string
}

// Extended names the profile's extended features too.
type Extended struct {
	Status              `json:",inline"`
	SupportedFeatures   []string
	UnsupportedFeatures []string
}

// Read parses a report.
func Read(path string) (Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Report{}, err
	}
	var report Report
	if err := yaml.Unmarshal(text, &report); err != nil {
		return Report{}, fmt.Errorf("%s: %w", path, err)
	}
	if report.Kind != "ConformanceReport" {
		return Report{}, fmt.Errorf("%s is no conformance report: its kind is %q", path, report.Kind)
	}
	// The suite lists profiles in no order.
	slices.SortFunc(report.Profiles, func(a, b Profile) int { return place(a.Name) - place(b.Name) })
	return report, nil
}

func place(profile string) int {
	if at := slices.Index(Profiles, profile); at >= 0 {
		return at
	}
	return len(Profiles)
}

// FileName is upstream's pattern: <API channel>-<implementation version>-<mode>-report.yaml.
func (r Report) FileName() string {
	return fmt.Sprintf("%s-%s-%s-report.yaml", r.GatewayAPIChannel, r.Implementation.Version, r.Mode)
}

// Failed are the names of all tests that failed, each once.
func (r Report) Failed() []string {
	var names []string
	for _, profile := range r.Profiles {
		names = append(names, profile.Core.FailedTests...)
		if profile.Extended != nil {
			names = append(names, profile.Extended.FailedTests...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

var (
	// A snapshot of the project, never a branch.
	release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	channel = regexp.MustCompile(`^(standard|experimental)$`)
)

// Problems are the reasons why a report is no proof of full conformance in these profiles, by upstream's rules: every
// profile a success, nothing skipped, and an implementation that can be found.
func (r Report) Problems(profiles []string) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, name := range profiles {
		at := slices.IndexFunc(r.Profiles, func(each Profile) bool { return each.Name == name })
		if at < 0 {
			complain("%s is not in the report", name)
			continue
		}
		profile := r.Profiles[at]
		profile.Core.problems(name+" core", complain)
		if profile.Core.Statistics.Passed == 0 {
			complain("%s core: no test has passed", name)
		}
		if profile.Extended != nil {
			profile.Extended.problems(name+" extended", complain)
		}
	}
	if !release.MatchString(r.Implementation.Version) {
		complain("implementation.version %q is no release such as v1.2.3", r.Implementation.Version)
	}
	if !release.MatchString(r.GatewayAPIVersion) {
		complain("gatewayAPIVersion %q is no release", r.GatewayAPIVersion)
	}
	if !channel.MatchString(r.GatewayAPIChannel) {
		complain("gatewayAPIChannel %q is neither standard nor experimental", r.GatewayAPIChannel)
	}
	if r.Mode == "" || strings.ContainsAny(r.Mode, "/ ") {
		complain("mode %q cannot be part of a file's name", r.Mode)
	}
	if _, err := time.Parse(time.RFC3339, r.Date); err != nil {
		complain("date %q: %v", r.Date, err)
	}
	if page, err := url.Parse(r.Implementation.URL); err != nil || page.Scheme != "https" || page.Host == "" {
		complain("implementation.url %q is no absolute https URL", r.Implementation.URL)
	}
	if r.Implementation.Organization == "" || r.Implementation.Project == "" || len(r.Implementation.Contact) == 0 {
		complain("implementation has no organization, project or contact")
	}
	return problems
}

func (s Status) problems(what string, complain func(string, ...any)) {
	if s.Result != "success" || s.Statistics.Failed > 0 || s.Statistics.Skipped > 0 {
		complain("%s: %s, %d failed, %d skipped %s", what, s.Result, s.Statistics.Failed, s.Statistics.Skipped,
			strings.Join(slices.Concat(s.FailedTests, s.SkippedTests), " "))
	}
}

// Table is for a terminal.
func (r Report) Table() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\tcore\t\t\textended\t\t\tfeatures\t\t\n")
	fmt.Fprintf(table, "profile\tpassed\tfailed\tskipped\tpassed\tfailed\tskipped\tsupported\tnot\t\n")
	for _, profile := range r.Profiles {
		core, extended := profile.Core.Statistics, Extended{}
		if profile.Extended != nil {
			extended = *profile.Extended
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", profile.Name, core.Passed, core.Failed, core.Skipped,
			extended.Statistics.Passed, extended.Statistics.Failed, extended.Statistics.Skipped,
			len(extended.SupportedFeatures), len(extended.UnsupportedFeatures))
	}
	_ = table.Flush() // into memory
	for _, profile := range r.Profiles {
		if profile.Extended != nil && len(profile.Extended.UnsupportedFeatures) > 0 {
			fmt.Fprintf(&text, "  %s does not have: %s\n", profile.Name, strings.Join(profile.Extended.UnsupportedFeatures, " "))
		}
	}
	return text.String()
}
