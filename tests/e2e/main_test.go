package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
)

// parallel is how many tests run side by side: they mostly wait.
const parallel = "14"

// env is what all tests share.
type env struct {
	*stack.Stack
	client  kubernetes.Interface
	dynamic dynamic.Interface
	logPath string
	begun   begun

	mu    sync.Mutex
	hooks map[int]func(scf.Invocation)
	next  int
}

// shared is the one stack: starting it takes longer than most tests.
var shared *env

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("the end-to-end suite is left out by -short")
		os.Exit(0)
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *profileFlag == "all" {
		return each(ctx)
	}
	disputed, err := narrow(*profileFlag)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	log, err := os.CreateTemp("", "clb-direct-e2e-*.log")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer log.Close()
	began := time.Now()
	shared, err = newEnv(ctx, disputed, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("the stack is up after %s; its log is %s\n", time.Since(began).Round(100*time.Millisecond), log.Name())
	code := m.Run()
	if left := shared.begun.missing(tagged[*profileFlag]); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "profile %s: there are no tests %q\n", *profileFlag, left)
		code = 1
	}
	if left := shared.leftBehind(2 * time.Minute); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "all namespaces were deleted, and there still are %q\n", left)
		code = 1
	}
	if wrong := shared.rights(); len(wrong) > 0 {
		fmt.Fprintf(os.Stderr, "rights granted and used differ:\n  %s\n", strings.Join(wrong, "\n  "))
		code = max(code, 1)
	}
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "closing the stack:", err)
		code = max(code, 1)
	}
	if code == 0 {
		_ = os.Remove(log.Name())
	}
	return code
}

// leftBehind waits until what the functions made is gone, as every test's namespace is
// being deleted, and lists what isn't: load balancers of theirs, and on other people's
// their listeners and rules, and what is bound at rules.
func (e *env) leftBehind(limit time.Duration) []string {
	var left []string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-time.After(200 * time.Millisecond) {
		left = nil
		for _, lb := range e.CLB.LoadBalancers() {
			if lb.Tags[desired.TagCluster] == stack.ClusterID {
				left = append(left, lb.ID)
			}
			for _, l := range lb.Listeners {
				_, ours := desired.OwnerOf(l.Name)
				if ours {
					left = append(left, lb.ID+" "+l.Name)
				}
				for _, r := range l.Rules {
					if ours || len(r.Targets) > 0 {
						left = append(left, fmt.Sprintf("%s %s %s %s", lb.ID, l.Name, ruleKey(lb, l, r), describe(r.Targets)))
					}
				}
			}
		}
		if len(left) == 0 {
			break
		}
	}
	return left
}

// latencies are short but not none: what overlaps on the real CLB overlaps here too.
var latencies = clb.Latencies{
	API:         5 * time.Millisecond,
	Task:        clb.Range{Min: 50 * time.Millisecond, Max: 100 * time.Millisecond},
	Busy:        20 * time.Millisecond,
	Propagation: clb.Range{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond},
	Create:      300 * time.Millisecond,
}

// quotas leave room for all tests together; deletions above all, of which the
// documented thirty in five minutes are few.
var quotas = clb.Quotas{OpenCLBs: 500, InternalCLBs: 500, Listeners: 50, Rules: 50, Targets: 200, Deletions: 10_000}

func newEnv(ctx context.Context, o clb.Options, log *os.File) (*env, error) {
	o.Latencies, o.Quotas, o.RequestRate = &latencies, &quotas, -1
	e := &env{logPath: log.Name(), hooks: map[int]func(scf.Invocation){}}
	s, err := stack.Start(ctx, stack.Options{
		Root:     "../..",
		Audit:    true,
		CLB:      o,
		SCF:      scf.Options{ColdStart: 50 * time.Millisecond, OnInvoke: e.invoked},
		Progress: os.Stdout,
		Log:      log,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the stack: %w", err)
	}
	e.Stack = s
	config := s.Cluster.RESTConfig()
	config.QPS = -1
	if e.client, err = kubernetes.NewForConfig(config); err == nil {
		e.dynamic, err = dynamic.NewForConfig(config)
	}
	if err != nil {
		return nil, fmt.Errorf("making clients: %w", err)
	}
	return e, nil
}

// invoked hands an invocation that is about to begin to those who asked.
func (e *env) invoked(_ context.Context, inv scf.Invocation) {
	e.mu.Lock()
	var hooks []func(scf.Invocation)
	for _, h := range e.hooks {
		hooks = append(hooks, h)
	}
	e.mu.Unlock()
	for _, h := range hooks {
		h(inv)
	}
}

// onInvoke has f see every invocation, before its function does, until the test ends
// or remove is called.
func (e *env) onInvoke(t *testing.T, f func(scf.Invocation)) (remove func()) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.next
	e.next++
	e.hooks[id] = f
	remove = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.hooks, id)
	}
	t.Cleanup(remove)
	return remove
}

// tail is the end of the stack's log, narrowed to lines with one of the words.
func (e *env) tail(lines int, words ...string) string {
	f, err := os.Open(e.logPath)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var kept []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Text()
		if strings.HasPrefix(line, "kube-") || strings.HasPrefix(line, "etcd") {
			continue
		}
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			kept = append(kept, line[:min(len(line), 800)])
		}
		if len(kept) > 2*lines {
			kept = append([]string(nil), kept[lines:]...)
		}
	}
	return strings.Join(kept[max(0, len(kept)-lines):], "\n")
}
