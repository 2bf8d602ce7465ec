// Command conformance runs the upstream suite, unmodified, against the running cluster, and prints a table of what
// passed, failed and is unsupported. The features are those that our GatewayClass publishes; no test is skipped.
//
//	conformance -suite 1.6.3 -tools DIR -out DIR [-run ShortName,…] [-profiles GATEWAY-HTTP,…] [-times 3]
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"portcullis.dev/e2e/cluster"
	"portcullis.dev/e2e/report"
)

type options struct {
	suite, tools, out, version string
	tests, profiles            []string
	times                      int
	timeout                    time.Duration
}

// What a report says of us; upstream asks for all of it, and for an absolute URL.
const (
	organization = "portcullis-gateway"
	project      = "portcullis"
	page         = "https://github.com/portcullis-gateway/portcullis"
	contact      = page + "/issues"
)

func main() {
	var chosen options
	var tests, profiles string
	flag.StringVar(&chosen.suite, "suite", "1.6.3", "release of the suite; the cluster's CRDs must be of the same")
	flag.StringVar(&chosen.tools, "tools", "", "folder of conformance.test and echo-basic")
	flag.StringVar(&chosen.out, "out", "", "folder for report.yaml and suite.log; one in it for each run if there are several")
	flag.StringVar(&tests, "run", "", "comma-separated short names of tests; all if empty")
	flag.StringVar(&profiles, "profiles", strings.Join(report.Profiles, ","), "comma-separated profiles")
	flag.StringVar(&chosen.version, "version", "", "version of Portcullis, for the report")
	flag.IntVar(&chosen.times, "times", 1, "how often to run; a test that fails once has failed")
	flag.DurationVar(&chosen.timeout, "timeout", 75*time.Minute, "for one run")
	flag.Parse()
	chosen.tests, chosen.profiles = list(tests), list(profiles)
	if err := conformance(chosen); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func conformance(chosen options) error {
	if chosen.times < 1 || len(chosen.profiles) == 0 {
		return errors.New("-times must be at least 1, and -profiles must name one: nothing would be run")
	}
	layout := cluster.DefaultLayout()
	if err := sameRelease(layout, chosen.suite); err != nil {
		return err
	}
	module, err := cluster.ModuleDir("sigs.k8s.io/gateway-api/conformance@v" + chosen.suite)
	if err != nil {
		return err
	}
	if err := layout.ImportSuite(module, filepath.Join(chosen.tools, "echo-basic")); err != nil {
		return fmt.Errorf("import the suite's images (is the cluster up?): %w", err)
	}
	if err := os.RemoveAll(chosen.out); err != nil { // no report of an earlier run may be taken for this one's
		return err
	}
	tally := tally{}
	var problems []error
	for number := range chosen.times {
		out := chosen.out
		if chosen.times > 1 {
			fmt.Printf("\nrun %d of %d\n", number+1, chosen.times)
			out = filepath.Join(chosen.out, strconv.Itoa(number+1))
		}
		failed, err := once(layout, chosen, out)
		tally.add(failed)
		if err != nil {
			problems = append(problems, fmt.Errorf("run %d: %w", number+1, err))
		}
	}
	if chosen.times > 1 {
		fmt.Print(tally.String(chosen.times))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if chosen.times > 1 && len(chosen.tests) == 0 {
		// All of them are proofs; the last one stands for them.
		last := filepath.Join(chosen.out, strconv.Itoa(chosen.times), "report.yaml")
		return os.Link(last, filepath.Join(chosen.out, "report.yaml"))
	}
	return nil
}

// once runs the suite, and returns the names of the tests that failed.
func once(layout cluster.Layout, chosen options, out string) ([]string, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	if err := clean(layout); err != nil {
		return nil, fmt.Errorf("remove what an earlier run has left: %w", err)
	}
	log, err := os.Create(filepath.Join(out, "suite.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	written := filepath.Join(out, "report.yaml")
	selected, err := selection(layout, chosen, written)
	if err != nil {
		return nil, err
	}
	command := slices.Concat(layout.Enter(), []string{filepath.Join(chosen.tools, "conformance.test"),
		"-test.v", "-test.timeout=" + chosen.timeout.String(),
		"-gateway-class=portcullis", "-conformance-profiles=" + strings.Join(chosen.profiles, ","),
		"-usable-address=" + cluster.UsableAddress, "-unusable-address=" + cluster.UnusableAddress}, selected)
	suite := exec.Command(command[0], command[1:]...)
	suite.Env = append(os.Environ(), "KUBECONFIG="+layout.Kubeconfig())
	suite.Dir = out
	began := time.Now()
	results, failed, err := watch(suite, log)
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("no test has ended: %w\n%s", errors.Join(failed, errors.New("from "+log.Name()+":")), lastWords(string(text)))
	}
	fmt.Print(results.table(len(chosen.tests) > 0))
	fmt.Printf("  %.1f minutes, log: %s\n", time.Since(began).Minutes(), log.Name())
	if len(chosen.tests) > 0 {
		return results.failed(), failed
	}
	found, err := report.Read(written)
	if err != nil {
		return results.failed(), errors.Join(failed, fmt.Errorf("the suite wrote no report: %w", err))
	}
	fmt.Printf("\n%s\n  report: %s\n", found.Table(), written)
	if problems := found.Problems(chosen.profiles); len(problems) > 0 {
		failed = errors.Join(failed, errors.New("the report is no proof:\n  "+strings.Join(problems, "\n  ")))
	}
	names := slices.Concat(results.failed(), found.Failed())
	slices.Sort(names)
	return slices.Compact(names), failed
}

// selection says which tests to run. A whole run takes the features to test from our class's status by itself; for one
// test alone the suite would take none, so it is told.
func selection(layout cluster.Layout, chosen options, written string) ([]string, error) {
	if len(chosen.tests) == 0 {
		return []string{"-test.run=^TestConformance$", "-report-output=" + written, "-organization=" + organization,
			"-project=" + project, "-url=" + page, "-version=" + chosen.version, "-contact=" + contact}, nil
	}
	features, err := published(layout)
	if err != nil {
		return nil, err
	}
	if len(chosen.tests) == 1 { // it is run even if its features are not published
		return []string{"-test.run=^TestConformance$", "-supported-features=" + features, "-run-test=" + chosen.tests[0]}, nil
	}
	pattern := "-test.run=^TestConformance$/^(" + strings.Join(chosen.tests, "|") + ")$"
	return []string{pattern, "-supported-features=" + features}, nil
}

// watch runs the suite, keeps its whole output, and shows each test as it ends. The suite's own exit code counts: a
// report alone could miss what failed last.
func watch(suite *exec.Cmd, log io.Writer) (all results, failed, err error) {
	output, err := suite.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	suite.Stderr = suite.Stdout
	if err := suite.Start(); err != nil {
		return nil, nil, err
	}
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if _, err := io.WriteString(log, line); err != nil {
			return nil, nil, err
		}
		if each, is := parse(strings.TrimRight(line, "\n")); is {
			all = append(all, each)
			if each.part == "" && each.outcome != skipped {
				fmt.Printf("  %-6s %7s  %s\n", each.outcome, each.took, each.name)
			}
		}
		all.reason(line)
		if err != nil {
			break
		}
	}
	if err := suite.Wait(); err != nil {
		failed = fmt.Errorf("the suite failed: %w", err)
	}
	return all, failed, nil
}
