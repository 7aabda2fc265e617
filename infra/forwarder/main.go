// Forwarder is the in-cluster program of clb-direct: it watches pods, Services and
// Ingresses, tells the functions where to look, keeps at it until they have looked,
// and gives pods their readiness gate as they are created.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/clb-direct/clb-direct/infra/forwarder/replica"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	klog.SetSlogLogger(log)
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

func run(ctx context.Context, args []string, log *slog.Logger) error {
	s, err := read(args, os.Getenv)
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
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
