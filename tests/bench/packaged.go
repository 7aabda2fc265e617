package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/shared/event"
)

// memory that the function is given, in MB: what serverless.yml asks for, and twice
// that for the biggest size. The emulator ends what takes more.
func memory(size int) int {
	if size > 1_000 {
		return 256
	}
	return 128
}

// coldStarts is how many cold starts of each function are measured.
const coldStarts = 5

// grant is what a forwarder may allow: function URL events are checked for it.
var grant = map[string]float64{"*": 16}

// packaged runs the package that would be uploaded, as the platform does.
type packaged struct {
	*bench
	scf *scf.Server
	url *transport.URL
}

var memorySize = regexp.MustCompile(`(?m)^(\s+memorySize:) \d+$`)

// startPackaged starts the functions with so much memory.
func (b *bench) startPackaged(ctx context.Context, megabytes int) (*packaged, error) {
	raw, err := os.ReadFile(filepath.Join(b.opts.root, "serverless.yml"))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if n := len(memorySize.FindAll(raw, -1)); n != 1 {
		return nil, fmt.Errorf("reading the manifest: memorySize is there %d times, not once", n)
	}
	manifest := filepath.Join(b.stack.Dir, fmt.Sprintf("serverless-%d.yml", megabytes))
	if err := os.WriteFile(manifest, memorySize.ReplaceAll(raw, fmt.Appendf(nil, "$1 %d", megabytes)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	server, err := scf.Start(ctx, scf.Options{
		Package: filepath.Join(b.stack.Dir, "clb-direct.zip"), Manifest: manifest,
		Env: b.stack.Env, Store: b.stack.Store, Concurrency: 1, ColdStart: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the functions: %w", err)
	}
	urls := map[event.Function]string{}
	for _, f := range event.Functions {
		urls[f] = server.URL(string(f))
	}
	url, err := transport.NewURL(urls, b.stack.EventSecret, 1)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &packaged{bench: b, scf: server, url: url}, nil
}

func (p *packaged) close() error {
	p.url.Close()
	return p.scf.Close()
}

// send runs a pass until it is through and returns what it wrote.
func (p *packaged) send(ctx context.Context, o order) (outcome, error) {
	out := outcome{Writes: map[string]int{}, Calls: map[string]int{}}
	o.Sync.Grant = grant
	attempt := o.Sync.Attempt
	for out.Passes < maxHandOvers {
		out.Passes++
		o.Sync.Attempt = fmt.Sprintf("%s/%d", attempt, out.Passes)
		req := event.Request{ID: o.Sync.Attempt, Function: o.Function, Source: event.Source(o.Sync.Cluster), Partition: "bench", Sync: o.Sync}
		now := time.Now()
		envelope, err := req.Encode(now)
		if err != nil {
			return out, err
		}
		payload, err := json.Marshal(envelope)
		if err != nil {
			return out, fmt.Errorf("encoding the event: %w", err)
		}
		reply, err := p.url.Send(ctx, o.Function, payload)
		if err != nil {
			return out, fmt.Errorf("invoking %s: %w", o.Function, err)
		}
		out.add(reply)
		if out.Failure != "" {
			return out, fmt.Errorf("invoking %s: %s", o.Function, out.Failure)
		}
		if !reply.Continue {
			return out, nil
		}
	}
	return out, fmt.Errorf("invoking %s: not through after %d passes", o.Function, maxHandOvers)
}

// remember runs passes over a scene in one instance, from nothing, and books the most
// memory it had. Being ended for its memory is a figure too, not an error.
func (s *scene) remember(ctx context.Context, f event.Function, what string) (err error) {
	p, err := s.startPackaged(ctx, memory(s.size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	target := s.next()
	for _, o := range []struct {
		order  order
		writes int
	}{{s.all(f), s.size}, {s.all(f), 0}, {s.one(f, target), 0}, {s.all(f), 0}} {
		out, err := p.send(ctx, o.order)
		if err == nil {
			err = expect(out, what, o.writes)
		}
		if err != nil {
			if killed := p.killed(); killed != "" {
				s.report.remember(string(f), s.size, p.scf.PeakMemory(string(f)), killed)
				return nil
			}
			return fmt.Errorf("measuring memory of %s at %d pods: %w", f, s.size, err)
		}
	}
	s.report.remember(string(f), s.size, p.scf.PeakMemory(string(f)), "")
	return nil
}

// killed says how the platform ended an instance, "" if it didn't.
func (p *packaged) killed() string {
	for _, i := range p.scf.Invocations() {
		switch i.Status {
		case scf.StatusMemory, scf.StatusTimeout, scf.StatusProcessExit:
			return i.Status.String()
		}
	}
	return ""
}

func (b *bench) packagedBackends(ctx context.Context) error {
	return b.each(func(s *scene) error {
		b.Say("backends, packaged: %d pods in %d MB", s.size, memory(s.size))
		if err := s.unbindAll(ctx); err != nil {
			return err
		}
		return s.remember(ctx, event.Backends, "Bind")
	})
}

func (b *bench) packagedReadiness(ctx context.Context) error {
	err := b.each(func(s *scene) error {
		b.Say("readiness, packaged: %d pods in %d MB", s.size, memory(s.size))
		if err := s.closeGates(ctx); err != nil {
			return err
		}
		return s.remember(ctx, event.Readiness, "Conditions")
	})
	if err != nil {
		return err
	}
	b.Say("cold starts")
	for range coldStarts {
		if err := b.coldStart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// coldStart takes the time from an event for which there is no instance until the
// answer to it: process, configuration, connections, and a pass over the smallest
// scene. What the platform itself adds isn't in it.
func (b *bench) coldStart(ctx context.Context) (err error) {
	p, err := b.startPackaged(ctx, memory(sizes[0]))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for _, f := range []event.Function{event.Backends, event.Readiness} {
		began := time.Now()
		if _, err := p.send(ctx, b.scenes[0].all(f)); err != nil {
			return err
		}
		b.report.coldStart(string(f), elapsed(time.Since(began)))
	}
	return nil
}
