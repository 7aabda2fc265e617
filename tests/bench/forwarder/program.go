package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// kind is one of the two that are compared.
type kind string

const (
	ours     kind = "ours"
	baseline kind = "baseline"
)

// program is a forwarder that runs.
type program struct {
	kind kind
	cmd  *exec.Cmd
	done chan struct{}
	// health is where ours tells how it is, pprof where its heap is seen; "" for the
	// baseline.
	health, pprof string
}

// build compiles both.
func build(ctx context.Context, root, dir string) error {
	for name, pkg := range map[kind]string{ours: "./infra/forwarder", baseline: "./tests/bench/forwarder/baseline"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, string(name)), pkg)
		cmd.Dir, cmd.Stderr = root, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("building %s: %w", pkg, err)
		}
	}
	return nil
}

// freePort is one of loopback's that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs a forwarder; more are flags for ours alone.
func (b *bench) start(k kind, identity string, more ...string) (*program, error) {
	p := &program{kind: k, done: make(chan struct{})}
	args := []string{"--kubeconfig=" + b.cluster.Kubeconfig}
	// Nothing of the surroundings: neither credentials nor settings of Go's runtime.
	env := []string{"HOME=" + b.dir, "EVENT_SECRET=bench"}
	if k == baseline {
		args = append(args, "--sink="+b.sink.url()+"/")
	} else {
		listen, err := freePort()
		if err != nil {
			return nil, err
		}
		hook, err := freePort()
		if err != nil {
			return nil, err
		}
		profile, err := freePort()
		if err != nil {
			return nil, err
		}
		p.health, p.pprof = "http://"+listen, "http://"+profile
		args = append(args, "--cluster-id=cls-bench", "--claim=annotation", "--identity="+identity, "--listen="+listen,
			"--webhook-listen="+hook, "--webhook-url=https://"+hook+"/mutate", "--drain-service=-", "--linger=1s", "--send-timeout=5s", "--pprof="+profile,
			// A Lease of its own: one that the last program held until it was killed is not waited for.
			"--lease=bench-"+identity)
		args = append(args, more...)
		for _, f := range []string{"FRONTEND", "BACKENDS", "READINESS"} {
			env = append(env, "URL_"+f+"="+b.sink.url()+"/"+strings.ToLower(f))
		}
	}
	p.cmd = exec.Command(filepath.Join(b.dir, string(k)), args...)
	p.cmd.Env, p.cmd.Stderr = env, b.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", k, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ends is the scenario's doing
	}()
	b.running = append(b.running, p)
	return p, nil
}

// signal sends one to the program, and waits if it ends it.
func (p *program) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signalling %s: %w", p.kind, err)
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		<-p.done
	}
	return nil
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the program if it still runs.
func (p *program) stop() {
	if !p.ended() {
		_ = p.signal(syscall.SIGKILL)
	}
}

// cpu is what the program has used so far, in user and kernel mode.
func (p *program) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("reading CPU time: too few fields")
	}
	var ticks int64 // fields 14 and 15 (proc(5)), a hundred a second
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is what is resident of the program, now and at most so far, in MiB.
func (p *program) memory() (now, peak float64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading memory: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch {
		case name == "VmRSS" && err == nil:
			now = kib / 1024
		case name == "VmHWM" && err == nil:
			peak = kib / 1024
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("reading memory: it isn't told")
	}
	return now, peak, nil
}

// attached waits until the forwarder tells of changes, and, if it is ours, has told
// everything that was there.
func (b *bench) attached(ctx context.Context, p *program, keys []*key) error {
	probe := keys[0]
	return setting.Await(ctx, string(p.kind)+" to tell of changes", func() (bool, error) {
		if p.ended() {
			return false, fmt.Errorf("%s has ended, see %s", p.kind, b.logPath)
		}
		if p.kind == ours {
			if n, _ := b.sink.lacking(keys); n > 0 {
				return false, nil
			}
		}
		if err := b.write(ctx, probe); err != nil {
			return false, err
		}
		for range 20 {
			if _, ok := b.sink.has(probe); ok {
				return true, nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false, nil
	})
}
