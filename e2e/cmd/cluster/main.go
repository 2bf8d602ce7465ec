// Command cluster starts and stops the cluster of package cluster.
//
//	cluster up | down | kubectl ARGS… | enter COMMAND…
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"portcullis.dev/e2e/cluster"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: cluster up | down | kubectl ARGS… | enter COMMAND…")
	}
	layout := cluster.DefaultLayout()
	switch verb, rest := args[0], args[1:]; verb {
	case "up":
		return layout.Up(os.Stdout)
	case "down":
		return layout.Down(os.Stdout)
	case "kubectl":
		return attached(layout.Kubectl(rest...))
	case "enter":
		enter := append(layout.Enter(), rest...)
		shell := exec.Command(enter[0], enter[1:]...)
		shell.Env = append(os.Environ(), "KUBECONFIG="+layout.Kubeconfig(), "PATH="+layout.Bin+":"+os.Getenv("PATH"))
		return attached(shell)
	case "load-balancer":
		flags := flag.NewFlagSet(verb, flag.ContinueOnError)
		flags.StringVar(&layout.Root, "root", layout.Root, "the cluster's folder")
		if err := flags.Parse(rest); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return layout.BalanceLoads(ctx)
	default:
		return fmt.Errorf("unknown verb %q; one of up, down, kubectl, enter", verb)
	}
}

func attached(process *exec.Cmd) error {
	process.Stdin, process.Stdout, process.Stderr = os.Stdin, os.Stdout, os.Stderr
	return process.Run()
}
