// Command localdev runs clb-direct on this machine: everything on loopback, no
// account, no cluster, no container engine.
//
//	localdev up            start everything and leave it running
//	localdev down          end exactly what up started
//	localdev demo          start everything, show a Service bound straight to its pods, end it
//	localdev demo-ingress  the same with Ingresses
//	localdev demo-rollout  rolling updates in four ways, side by side
//	localdev resync        have the function resync of what up started put everything right
//	localdev fault         make things go wrong in what up started: fault list, fault set name=value ..., fault clear id
//	localdev explain       say why pods of what up started are ready or not: explain kind/namespace/name
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/clb-direct/clb-direct/localdev/demo"
	"github.com/clb-direct/clb-direct/localdev/kubelet"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

const usage = "usage: localdev up|down|demo|demo-ingress|demo-rollout|resync|explain|fault [-cluster kubeconfig] [-node kubelet] [-v] [-dry] [-json] [kind/namespace/name]"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "localdev:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command; %s", usage)
	}
	fs := flag.NewFlagSet("localdev "+args[0], flag.ContinueOnError)
	kubeconfig := fs.String("cluster", "", "kubeconfig of a cluster of your own to use instead of starting one; never taken from the environment")
	root := fs.String("root", ".", "directory of the module")
	nodeKind := fs.String("node", "", "with up, demo and demo-rollout: kubelet runs pods on a node with the real kubelet, for which it needs root; emulated ones by default")
	verbose := fs.Bool("v", false, "show what everything prints")
	out := fs.String("out", "out", "folder for reports")
	dry := fs.Bool("dry", false, "with resync: say what it would do, and touch nothing")
	asJSON := fs.Bool("json", false, "with explain: answer as JSON")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	options := stack.Options{Root: *root, Kubeconfig: *kubeconfig, Timers: true, Progress: os.Stdout, Log: io.Discard}
	if *verbose {
		options.Log = os.Stderr
	}
	switch *nodeKind {
	case "", "emulated":
	case "kubelet":
		options.Nodes, options.Kubelet = -1, &kubelet.Options{}
	default:
		return fmt.Errorf("-node %q is not one of emulated, kubelet", *nodeKind)
	}
	switch args[0] {
	case "up":
		return up(ctx, *root, *kubeconfig, *nodeKind)
	case "down":
		return down(ctx, *root)
	case "serve": // what up leaves behind
		return serve(ctx, options)
	case "resync":
		return resync(ctx, *root, *dry, os.Stdout)
	case "explain":
		return explain(ctx, *root, fs.Arg(0), *asJSON, os.Stdout)
	case "fault":
		return setFault(ctx, *root, fs.Args(), os.Stdout)
	case "demo":
		return demo.Service(ctx, demo.Options{Stack: options, Out: *out, W: os.Stdout})
	case "demo-rollout":
		return demo.Rollout(ctx, demo.Options{Stack: options, Out: *out, W: os.Stdout})
	case "demo-ingress":
		return demo.Ingress(ctx, demo.Options{Stack: options, Out: *out, W: os.Stdout})
	}
	return fmt.Errorf("unknown command %q; %s", args[0], usage)
}
