package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/config"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

// order is a pass that the worker shall run.
type order struct {
	Function event.Function `json:"function"`
	Sync     event.Sync     `json:"sync"`
}

// outcome is what a pass cost and did. A pass that hands over is run until it is
// through, and all of that counts.
type outcome struct {
	Nanos     int64          `json:"nanos"`
	Allocs    uint64         `json:"allocs"`
	Bytes     uint64         `json:"bytes"`
	BytesRead int64          `json:"bytesRead"`
	Passes    int            `json:"passes"`
	Calls     map[string]int `json:"calls"`
	Writes    map[string]int `json:"writes"`
	Failure   string         `json:"failure,omitempty"`
}

// timeout of a pass, as serverless.yml has it.
const timeout = 30 * time.Second

// maxHandOvers ends a pass that would go on for ever.
const maxHandOvers = 50

// work runs passes until in ends. It is a process of its own so that neither what
// the emulators allocate nor their garbage collection is counted.
func work(ctx context.Context, in io.Reader, out io.Writer) error {
	world, err := newWorld()
	if err != nil {
		return err
	}
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading an order: %w", err)
		}
		if err := enc.Encode(perform(ctx, world, o)); err != nil {
			return fmt.Errorf("writing an outcome: %w", err)
		}
	}
}

// newWorld is what the functions make of the same environment.
func newWorld() (*reconcile.World, error) {
	cfg, err := config.Load(os.Getenv)
	if err != nil {
		return nil, err
	}
	k, err := kube.New(cfg.Kube)
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := clb.New(clb.Options{Region: cfg.Region, Endpoint: cfg.CLBEndpoint, Log: log, Credentials: func() (string, string, string) {
		return os.Getenv("TENCENTCLOUD_SECRETID"), os.Getenv("TENCENTCLOUD_SECRETKEY"), ""
	}})
	if err != nil {
		return nil, err
	}
	return &reconcile.World{Kube: k, CLB: c, Policy: cfg.Policy, VPC: cfg.VPC, LeaseNamespace: cfg.LeaseNamespace, Now: time.Now, Log: log}, nil
}

func perform(ctx context.Context, w *reconcile.World, o order) outcome {
	out := outcome{Calls: map[string]int{}, Writes: map[string]int{}}
	var before, after runtime.MemStats
	runtime.GC() // what an earlier pass left is not this one's to collect
	runtime.ReadMemStats(&before)
	read := w.Kube.BytesRead()
	began := time.Now()
	attempt := o.Sync.Attempt
	for again := true; again && out.Failure == ""; {
		out.Passes++
		o.Sync.Attempt = fmt.Sprintf("%s/%d", attempt, out.Passes)
		reply := pass(ctx, w, o)
		out.add(reply)
		again = reply.Continue
		if again && out.Passes == maxHandOvers {
			out.Failure = fmt.Sprintf("not through after %d passes", maxHandOvers)
		}
	}
	out.Nanos = time.Since(began).Nanoseconds()
	runtime.ReadMemStats(&after)
	out.Allocs, out.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	out.BytesRead = w.Kube.BytesRead() - read
	return out
}

func pass(ctx context.Context, w *reconcile.World, o order) event.Reply {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := event.Request{ID: o.Sync.Attempt, Function: o.Function, Source: event.Source(o.Sync.Cluster), Partition: "bench", Sync: o.Sync}
	if o.Function == event.Backends {
		return w.Backends(ctx, req)
	}
	return w.Readiness(ctx, req)
}

func (o *outcome) add(r event.Reply) {
	for k, n := range r.Calls {
		o.Calls[k] += n
	}
	for k, n := range r.Writes {
		o.Writes[k] += n
	}
	if r.Failure != nil {
		o.Failure = r.Failure.Message
	}
}

// worker is the process that runs passes.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
}

// startWorker starts this program again, with a function's environment and nothing
// of our own.
func startWorker(ctx context.Context, s *stack.Stack) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-worker")
	cmd.Env = []string{"TENCENTCLOUD_SECRETID=" + s.Account.SecretID, "TENCENTCLOUD_SECRETKEY=" + s.Account.SecretKey}
	for k, v := range s.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	return &worker{cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(bufio.NewReader(out))}, nil
}

// do runs one pass. That it failed is an error.
func (w *worker) do(o order) (outcome, error) {
	if err := w.enc.Encode(o); err != nil {
		return outcome{}, fmt.Errorf("ordering a pass: %w", err)
	}
	var out outcome
	if err := w.dec.Decode(&out); err != nil {
		return outcome{}, fmt.Errorf("reading a pass's outcome: %w", err)
	}
	if out.Failure != "" {
		return out, fmt.Errorf("running a %s pass: %s", o.Function, out.Failure)
	}
	return out, nil
}

func (w *worker) close() error {
	if err := w.in.Close(); err != nil {
		return fmt.Errorf("ending the worker: %w", err)
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("ending the worker: %w", err)
	}
	return nil
}
