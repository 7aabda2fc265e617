// Command check tells, before and after an installation, whether everything that it needs
// is there: one clear line each, with what to do where something is missing.
//
//	go run ./infra/check -env .env -credentials FILE -kubeconfig FILE
//
// It looks at what it is named and at nothing else: no ambient credentials, no ambient
// kubeconfig. It changes nothing: permissions to write are asked about by calls that name
// a load balancer which can't exist, admission by a dry run; only -probe-image makes a pod,
// for as long as a node takes to answer, and removes it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	o, err := read(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy-check:", err)
		os.Exit(2)
	}
	if !check(ctx, o, os.Stdout) {
		os.Exit(1)
	}
}

// options are where to look.
type options struct {
	root, env, credentials, kubeconfig string
	// explain is the function that answers for all of them, "" for STAGE's.
	explain string
	// scfEndpoint and scfScheme replace the SCF API's own; drainAddress the drain Service's.
	scfEndpoint, scfScheme, drainAddress string
	// probeImage is what a pod runs that asks, from a node, for the drain address.
	probeImage string
}

func read(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	fs.StringVar(&o.root, "root", ".", "directory of the module, for the policies and roles to ask about")
	fs.StringVar(&o.env, "env", ".env", "the file that serverless.yml is deployed with")
	fs.StringVar(&o.credentials, "credentials", "", "file with TENCENTCLOUD_SECRETID= and TENCENTCLOUD_SECRETKEY= of a key with the policies of infra/cam; without it the account isn't asked")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file of a cluster administrator; without it only what the functions' token shows is checked")
	fs.StringVar(&o.explain, "explain-function", "", "name of the function explain; default clb-direct-STAGE-clb-direct-explain")
	fs.StringVar(&o.scfEndpoint, "scf-endpoint", "", "host of the SCF API; the SDK's own unless set")
	fs.StringVar(&o.scfScheme, "scf-scheme", "HTTPS", "HTTPS or HTTP")
	fs.StringVar(&o.drainAddress, "drain-address", "", "host:port that drain hooks lead to, if not the drain Service's")
	fs.StringVar(&o.probeImage, "probe-image", "", "image of a pod that is made for a moment to see whether nodes reach the drain address; any that runs a while, such as the cluster's pause image; without it that isn't checked")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("reading arguments: %q is not a flag", fs.Arg(0))
	}
	return o, nil
}

// verdict of a line.
type verdict string

// The verdicts: as it should be; wrong; not asked, for want of what it takes; worth
// knowing.
const (
	ok      verdict = "ok"
	wrong   verdict = "WRONG"
	skipped verdict = "not checked"
	note    verdict = "note"
)

// sheet takes lines, and knows whether any is wrong.
type sheet struct {
	w   io.Writer
	bad int
}

// line writes what was looked at and what came of it; todo says what to do.
func (s *sheet) line(v verdict, what, seen, todo string) {
	fmt.Fprintf(s.w, "%-12s %-28s %s\n", v, what, seen)
	if todo != "" {
		fmt.Fprintf(s.w, "%-12s %-28s → %s\n", "", "", todo)
	}
	if v == wrong {
		s.bad++
	}
}

// check writes the whole sheet and tells whether all is well.
func check(ctx context.Context, o options, w io.Writer) bool {
	s := &sheet{w: w}
	in, err := inputs(o)
	if err != nil {
		s.line(wrong, "settings", err.Error(), "fill in "+o.env+" from .env.example")
		return false
	}
	s.line(ok, "settings", fmt.Sprintf("%s: cluster %s, region %s, CLAIM=%s, NETWORK=%s", o.env, in.config.Policy.Cluster, in.config.Region, in.config.Policy.Claim, in.config.Policy.Network), "")
	checkAccount(ctx, o, in, s)
	checkCluster(ctx, o, in, s)
	switch s.bad {
	case 0:
		fmt.Fprintln(w, "all is well")
	case 1:
		fmt.Fprintln(w, "one thing is wrong")
	default:
		fmt.Fprintf(w, "%d things are wrong\n", s.bad)
	}
	return s.bad == 0
}
