// Command cluster starts and stops the cluster of package cluster.
//
//	cluster up [-gateway-api v1.6.3] [-channel experimental] | down | import ARCHIVE… | kubectl ARGS… | enter COMMAND…
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"portcullis.dev/e2e/cluster"
)

const usage = "usage: cluster up [-gateway-api v1.6.3] [-channel experimental] | down | import ARCHIVE… | kubectl ARGS… | enter COMMAND…"

func main() {
	if err := command(os.Args[1:]); err != nil {
		var exit ended
		if errors.As(err, &exit) {
			os.Exit(int(exit))
		}
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	layout := cluster.DefaultLayout()
	verb, rest := args[0], args[1:]
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	switch verb {
	case "up":
		var options cluster.Options
		flags.StringVar(&options.GatewayAPI, "gateway-api", "v1.6.3", "release of the Gateway API CRDs; empty installs none")
		flags.StringVar(&options.Channel, "channel", "experimental", "standard or experimental")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		return layout.Up(options, os.Stdout)
	case "down":
		return layout.Down(os.Stdout)
	case "import":
		for _, archive := range rest {
			if err := layout.ImportArchive(archive); err != nil {
				return err
			}
		}
		return nil
	case "kubectl":
		return attached(layout.Kubectl(rest...))
	case "enter":
		enter := append(layout.Enter(), rest...)
		shell := exec.Command(enter[0], enter[1:]...)
		shell.Env = append(os.Environ(), "KUBECONFIG="+layout.Kubeconfig(), "PATH="+layout.Bin+":"+os.Getenv("PATH"))
		return attached(shell)
	case "load-balancer": // started by up, inside the namespace
		flags.StringVar(&layout.Root, "root", layout.Root, "the cluster's folder")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return layout.BalanceLoads(ctx)
	case "resolve": // asked by up, inside the namespace
		return resolve(rest)
	default:
		return fmt.Errorf("unknown verb %q; %s", verb, usage)
	}
}

// ended is the exit code of a command that was run on behalf of the caller and spoke for itself.
type ended int

func (e ended) Error() string { return fmt.Sprintf("the command ended with %d", int(e)) }

func attached(process *exec.Cmd) error {
	process.Stdin, process.Stdout, process.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := process.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return ended(max(exit.ExitCode(), 1))
	}
	return err
}

// resolve asks the cluster's DNS.
func resolve(names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, cluster.NodeAddress+":53")
	}}
	for _, name := range names {
		addresses, err := resolver.LookupHost(ctx, name+".")
		if err != nil {
			return err
		}
		fmt.Println(name, addresses)
	}
	return nil
}
