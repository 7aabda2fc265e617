// Command keeper keeps a node with a real kubelet, outside and inside of it.
//
//	keeper keep spec.json    until standard input closes
//	keeper inside spec.json  as the first process of the node; started by the former
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: keeper keep|inside spec.json")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch args[0] {
	case "keep":
		return machine.Keep(ctx, args[1], os.Stdin, os.Stdout)
	case "inside":
		return machine.Inside(args[1], os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown command %q", args[0])
}
