// Forwarder is the in-cluster program of clb-direct: it watches pods, Services and
// Ingresses, tells the functions where to look, keeps at it until they have looked,
// and gives pods their readiness gate as they are created.
//
//	forwarder [flags]        run
//	forwarder leave [flags]  before an uninstall: see that no pod waits for ever
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // the image has no file of them
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/clb-direct/clb-direct/infra/forwarder/leave"
	"github.com/clb-direct/clb-direct/infra/forwarder/replica"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	klog.SetSlogLogger(log)
	// What there is to hold is known and stays; what comes and goes is little. Memory is
	// what a big cluster makes dear, not the collector's time.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	for variable, seconds := range silence {
		if os.Getenv(variable) == "" {
			_ = os.Setenv(variable, seconds) // it fails only for names that are none
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], log); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		log.Error("stopping", "error", err)
		os.Exit(1)
	}
}

// gcPercent is how much the heap may grow between collections, in per cent.
const gcPercent = 50

// silence has client-go notice within ten seconds that its connection to the API server is
// dead though nobody said so: it asks when nothing has come for so long, and waits so long
// for an answer. By its defaults (30 and 15 s, k8s.io/apimachinery pkg/util/net) a drain
// hook, which holds its container for 20 s at most, ends in vain: what was last seen of the
// pod may be a container that is long gone.
var silence = map[string]string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "5", "HTTP2_PING_TIMEOUT_SECONDS": "5"}

func run(ctx context.Context, args []string, log *slog.Logger) error {
	if len(args) > 0 && args[0] == "leave" {
		return goAway(ctx, args[1:], log)
	}
	s, err := read(args, os.Getenv)
	if err != nil {
		return err
	}
	if err := s.connect(log); err != nil {
		return err
	}
	s.Log = log
	r, err := replica.New(s.Options)
	if err != nil {
		return err
	}
	log.Info("running", "identity", s.Identity, "cluster", s.Policy.Cluster, "listen", r.Address(), "webhook", r.WebhookAddress())
	return r.Run(ctx)
}

// goAway is the command leave.
func goAway(ctx context.Context, args []string, log *slog.Logger) error {
	fs := flag.NewFlagSet("forwarder leave", flag.ContinueOnError)
	kubeconfig := fs.String("kubeconfig", "", "kubeconfig file; without it the Pod's own ServiceAccount is used, never an ambient one")
	o := leave.Options{Now: time.Now, Say: func(waiting []string) { log.Info("waiting for readiness gates", "pods", waiting) }}
	fs.StringVar(&o.Configuration, "webhook-configuration", "clb-direct", "name of the MutatingWebhookConfiguration")
	fs.StringVar(&o.Policy, "gate-policy", "clb-direct-gate", "name of the MutatingAdmissionPolicyBinding")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long to wait for readiness gates")
	if err := fs.Parse(args); err != nil {
		return err
	}
	config, err := kubeConfig(*kubeconfig)
	if err != nil {
		return err
	}
	if o.Client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("reaching the API server: %w", err)
	}
	return leave.Run(ctx, o)
}
