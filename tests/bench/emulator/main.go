// Command emulator measures what the CLB emulator costs, so that it is never what other
// measurements measure: requests at a fixed rate over many pods, through a load balancer
// and straight to the pods by turns in the same run. The emulator is a process of its own,
// whose CPU time is read from the kernel. At layer 4 and at layer 7 it may take 30 % of
// one core and add a millisecond at the median.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// What is asked for.
const (
	rate = 400
	pods = 40
)

func main() {
	out := flag.String("o", "out/bench-emulator.json", "the JSON to write")
	length := flag.Duration("for", 10*time.Second, "how long each layer is measured")
	serve := flag.Bool("serve", false, "be the emulator: what the command starts itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return measure(ctx, *out, *length) }
	if *serve {
		run = func() error { return emulate(ctx) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// emulate is the emulator's process: it says where its API is, and ends with its input.
func emulate(ctx context.Context) error {
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "bench"})
	s, err := clb.Start(ctx, clb.Options{Store: store, Latencies: &clb.Latencies{}, RequestRate: -1})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.Endpoint())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// measure starts the emulator, asks at both layers, and reports.
func measure(ctx context.Context, out string, length time.Duration) error {
	e, err := start(ctx)
	if err != nil {
		return err
	}
	defer e.end()
	backends, stop, err := servers()
	if err != nil {
		return err
	}
	defer stop()
	r := &report{Rate: rate, Pods: pods, Layers: map[string]figures{}}
	for _, layer := range []string{"tcp", "http"} {
		vip, err := e.prepare(ctx, layer, backends)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", layer, err)
		}
		fmt.Printf("%s: %d requests a second for %s\n", layer, rate, length)
		if r.Layers[layer], err = e.ask(ctx, vip, backends, length); err != nil {
			return fmt.Errorf("asking over %s: %w", layer, err)
		}
	}
	r.table(os.Stdout)
	if err := record.Save(out, r); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", out)
	return r.wrong()
}

// emulator is the process that is measured.
type emulator struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	client *api.Client
}

func start(ctx context.Context) (*emulator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &emulator{cmd: exec.CommandContext(ctx, self, "-serve")}
	e.cmd.Stderr = os.Stderr
	if e.input, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	endpoint, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("starting the emulator: %w", err)
	}
	e.client, err = newClient(strings.TrimSpace(endpoint))
	return e, err
}

// end lets the process end.
func (e *emulator) end() {
	_ = e.input.Close()
	_ = e.cmd.Wait()
}

// servers are the pods: each answers every request with a few bytes.
func servers() ([]netip.AddrPort, func(), error) {
	var all []*http.Server
	var at []netip.AddrPort
	stop := func() {
		for _, s := range all {
			_ = s.Close()
		}
	}
	for i := range pods {
		l, err := net.Listen("tcp", fmt.Sprintf("127.76.0.%d:0", i+1))
		if err != nil {
			stop()
			return nil, nil, err
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
		all = append(all, s)
		at = append(at, l.Addr().(*net.TCPAddr).AddrPort())
		go func() { _ = s.Serve(l) }()
	}
	return at, stop, nil
}

// ask sends requests at the rate, one through the emulator and the next straight to a pod.
func (e *emulator) ask(ctx context.Context, vip string, backends []netip.AddrPort, length time.Duration) (figures, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	// Warm: connections and pools.
	for i := range 4 * pods {
		if _, err := once(ctx, client, turn(i, vip, backends)); err != nil {
			return figures{}, err
		}
	}
	busy, err := cpuTime(e.cmd.Process.Pid)
	if err != nil {
		return figures{}, err
	}
	began := time.Now()
	var mu sync.Mutex
	var took [2][]time.Duration
	var errs []error
	var asking sync.WaitGroup
	// The rate is that through the emulator: what goes straight comes on top.
	tick := time.NewTicker(time.Second / (2 * rate))
	defer tick.Stop()
	for i := 0; time.Since(began) < length && ctx.Err() == nil; i++ {
		<-tick.C
		asking.Go(func() {
			d, err := once(ctx, client, turn(i, vip, backends))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			took[i%2] = append(took[i%2], d)
		})
	}
	asking.Wait()
	seconds := time.Since(began).Seconds()
	if len(errs) > 0 || len(took[0]) == 0 || len(took[1]) == 0 {
		return figures{}, fmt.Errorf("%d of %d requests failed: %w", len(errs), len(errs)+len(took[0])+len(took[1]), errors.Join(errs[:min(3, len(errs))]...))
	}
	after, err := cpuTime(e.cmd.Process.Pid)
	if err != nil {
		return figures{}, err
	}
	through, straight := median(took[0]), median(took[1])
	return figures{
		Requests: len(took[0]), PerSecond: float64(len(took[0])) / seconds, CorePercent: 100 * (after - busy).Seconds() / seconds,
		ThroughMs: ms(through), StraightMs: ms(straight), AddedMs: ms(through - straight),
	}, nil
}

// turn is where the i-th request goes.
func turn(i int, vip string, backends []netip.AddrPort) string {
	if i%2 == 0 {
		return vip
	}
	return backends[i/2%len(backends)].String()
}

func once(ctx context.Context, client *http.Client, host string) (time.Duration, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	a, err := client.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("asking %s: status %d: %w", host, a.StatusCode, err)
	}
	return time.Since(began), nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
