// Command lifecycle takes clb-direct through its whole life in a cluster beside somebody
// else's controller, under load and with no more rights than are granted: installed from
// the chart, a live Service taken over from NodePort mode, rolled, scaled, upgraded,
// rolled back, given back, uninstalled; then the same from the plain manifests. It writes
// a report and fails if a request was lost. What is done is taken from docs/install.md and
// docs/coexistence.md, command by command: these are proved with it.
//
//	go run ./tests/lifecycle -o out/lifecycle.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/helm"
	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
)

// Report is lifecycle.json.
type Report struct {
	Steps    []Step  `json:"steps"`
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"`
	Seconds  float64 `json:"seconds"`
}

// Step is one of the life's, and what was sent meanwhile.
type Step struct {
	Name     string  `json:"name"`
	Seconds  float64 `json:"seconds"`
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"`
}

// life is one under way.
type life struct {
	root   string
	log    io.Writer
	s      *stack.Stack
	client kubernetes.Interface
	reader *reader
	other  *tenant
	load   *load
	began  time.Time
	report Report
	// drain is the drain Service's address, from the first installation on.
	drain string
	// env is what the reader fills .env in with.
	env map[string]string
	// more are values that a newer release has.
	more string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("o", "out/lifecycle.json", "file for the report")
	root := flag.String("root", ".", "directory of the module")
	verbose := flag.Bool("v", false, "show what everything prints")
	flag.Parse()
	l := &life{root: *root, log: io.Discard, began: time.Now(), env: map[string]string{}}
	if *verbose {
		l.log = os.Stderr
	}
	err := l.live(ctx)
	if werr := l.write(*out); werr != nil {
		err = errors.Join(err, werr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lifecycle:", err)
		os.Exit(1)
	}
}

func (l *life) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// live starts everything, takes the steps and ends everything.
func (l *life) live(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Minute) // the first builds included
	defer cancel()
	home, err := os.MkdirTemp("", "clb-direct-reader-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(home)
	if l.reader, err = newReader(l.root, home); err != nil {
		return err
	}
	install := func(ctx context.Context, s *stack.Stack) error {
		l.s = s
		h, err := helm.New(ctx, l.root, home, s.Cluster.Kubeconfig)
		if err != nil {
			return err
		}
		if err := l.reader.equip(ctx, s, h.Program()); err != nil {
			return err
		}
		l.say("the chart, without the forwarder: the functions need its ServiceAccount first")
		return l.access(ctx)
	}
	l.say("starting: a control plane, nodes, a CLB, SCF")
	if l.s, err = stack.Start(ctx, stack.Options{
		Root: l.root, Claim: "class", Network: "vpc-cni", Timers: true, Install: install, Progress: os.Stdout, Log: l.log,
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.s.Close()) }()
	if l.client, err = kubernetes.NewForConfig(l.s.Cluster.RESTConfig()); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	acting, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.precede(acting); err != nil {
		return err
	}
	l.reader.words["cls-12345678"], l.reader.words["the-one-in-.env"], l.reader.words["lb-12345678"] = stack.ClusterID, l.s.EventSecret, l.other.lb
	l.reader.words["qcs::cam::uin/100000000000:roleName/clb-direct-forwarder"] = stack.RoleARN()
	for _, f := range event.Functions {
		l.reader.words[fmt.Sprintf("functions.%s=%s", f, f)] = fmt.Sprintf("functions.%s=%s", f, l.s.SCF.Function(string(f)))
	}
	l.load = startLoad("http://"+l.vip()+"/", l.say)
	defer l.load.stop()
	for _, step := range l.steps() {
		if err := l.take(ctx, step); err != nil {
			return err
		}
	}
	if err := l.reader.unread(); err != nil {
		return err
	}
	l.say("%d requests, %d failed", l.report.Requests, l.report.Failed)
	if l.report.Failed > 0 {
		return fmt.Errorf("%d of %d requests failed", l.report.Failed, l.report.Requests)
	}
	return nil
}

// step is a part of the life.
type step struct {
	name string
	run  func(context.Context) error
}

// take runs a step under load.
func (l *life) take(ctx context.Context, s step) error {
	l.say("── %s", s.name)
	began, requests, failed := time.Now(), l.load.requests.Load(), l.load.failed.Load()
	err := s.run(ctx)
	if err == nil {
		select { // what a step breaks may show a moment later
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	done := Step{Name: s.name, Seconds: time.Since(began).Round(time.Millisecond).Seconds(), Requests: l.load.requests.Load() - requests, Failed: l.load.failed.Load() - failed}
	l.report.Steps = append(l.report.Steps, done)
	l.report.Requests += done.Requests
	l.report.Failed += done.Failed
	l.say("   %.1f s, %d requests, %d failed", done.Seconds, done.Requests, done.Failed)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (l *life) write(path string) error {
	l.report.Seconds = time.Since(l.began).Round(time.Millisecond).Seconds()
	if err := record.Save(path, l.report); err != nil {
		return err
	}
	l.say("the report is %s", path)
	return nil
}
