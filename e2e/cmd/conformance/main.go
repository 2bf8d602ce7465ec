// Command conformance runs the upstream suite, unmodified, against the running cluster, and prints a table of what
// passed, failed and is unsupported. The features are those that our GatewayClass publishes.
//
//	conformance -suite 1.6.3 -tools DIR -out DIR [-run ShortName] [-profiles GATEWAY-HTTP,…]
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
	"strings"

	"portcullis.dev/e2e/cluster"
)

type options struct {
	suite, tools, out, run, profiles, version string
}

func main() {
	var chosen options
	flag.StringVar(&chosen.suite, "suite", "1.6.3", "release of the suite; the cluster's CRDs must be of the same")
	flag.StringVar(&chosen.tools, "tools", "", "folder of conformance.test and echo-basic")
	flag.StringVar(&chosen.out, "out", "", "folder for report.yaml and suite.log")
	flag.StringVar(&chosen.run, "run", "", "the short name of one test")
	flag.StringVar(&chosen.profiles, "profiles", "GATEWAY-HTTP", "comma-separated profiles")
	flag.StringVar(&chosen.version, "version", "", "version of Portcullis, for the report")
	flag.Parse()
	if err := conformance(chosen); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func conformance(chosen options) error {
	layout := cluster.DefaultLayout()
	module, err := cluster.ModuleDir("sigs.k8s.io/gateway-api/conformance@v" + chosen.suite)
	if err != nil {
		return err
	}
	if err := layout.ImportSuite(module, filepath.Join(chosen.tools, "echo-basic")); err != nil {
		return fmt.Errorf("import the suite's images (is the cluster up?): %w", err)
	}
	if err := os.MkdirAll(chosen.out, 0o755); err != nil {
		return err
	}
	report := filepath.Join(chosen.out, "report.yaml")
	if err := os.RemoveAll(report); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(chosen.out, "suite.log"))
	if err != nil {
		return err
	}
	defer log.Close()

	command := append(layout.Enter(), filepath.Join(chosen.tools, "conformance.test"),
		"-test.run=^TestConformance$", "-test.v", "-test.timeout=40m",
		"-gateway-class=portcullis", "-conformance-profiles="+chosen.profiles,
		"-usable-address="+cluster.UsableAddress, "-unusable-address="+cluster.UnusableAddress)
	if chosen.run != "" {
		command = append(command, "-run-test="+chosen.run)
	} else {
		command = append(command, "-report-output="+report, "-organization=portcullis-gateway", "-project=portcullis",
			"-url=https://github.com/portcullis-gateway/portcullis", "-version="+chosen.version,
			"-contact=https://github.com/portcullis-gateway/portcullis/issues")
	}
	suite := exec.Command(command[0], command[1:]...)
	suite.Env = append(os.Environ(), "KUBECONFIG="+layout.Kubeconfig())
	suite.Dir = chosen.out
	results, failed, err := watch(suite, log)
	if err != nil {
		return err
	}
	if failed != nil && len(results) == 0 {
		text, _ := os.ReadFile(log.Name())
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%w before its first test:\n%s", failed, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
	fmt.Print(results.table(chosen.run != ""))
	if chosen.run == "" {
		summary, err := profiles(report)
		if err != nil {
			return errors.Join(err, failed)
		}
		fmt.Print(summary)
	}
	fmt.Printf("log: %s\n", log.Name())
	return failed
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
			if each.outcome != skipped {
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
