package nodejs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// line is what client.cjs prints at each stage.
type line struct {
	Stage    string   `json:"stage"`
	LB       string   `json:"lb"`
	Listener string   `json:"listener"`
	VIP      string   `json:"vip"`
	Health   []health `json:"health"`
	Code     string   `json:"code"`
}

type health struct {
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	Detail string `json:"detail"`
}

func TestForeignClient(t *testing.T) {
	// t's own context ends before the clean-up, in which the client comes to its end.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	modules := install(ctx, t)

	emulator := startEmulator(ctx, t)
	targets := []netip.AddrPort{serve(t, "127.77.0.1"), serve(t, "127.77.0.2")}
	next := runClient(ctx, t, modules, emulator.Endpoint(), targets)

	bound := next("bound")
	want := []health{}
	for _, a := range targets {
		want = append(want, health{a.Addr().String(), int(a.Port()), "Alive"})
	}
	slices.SortFunc(bound.Health, func(a, b health) int { return bytes.Compare([]byte(a.IP), []byte(b.IP)) })
	if diff := cmp.Diff(want, bound.Health); diff != "" {
		t.Errorf("what the client reads of the targets' health\n-want +got:\n%s", diff)
	}
	made := emulator.LoadBalancers()
	if len(made) != 1 || len(made[0].Listeners) != 1 {
		t.Fatalf("want a load balancer with a listener, got %+v", made)
	}
	lb, listener := made[0], made[0].Listeners[0]
	got := line{Stage: "bound", LB: lb.ID, Listener: listener.ID, VIP: lb.VIP.String(), Health: bound.Health}
	if diff := cmp.Diff(got, bound); diff != "" {
		t.Errorf("what the emulator has, and what the client was told\n-has +told:\n%s", diff)
	}
	if lb.Name != "from-node" || listener.Name != "web" || listener.Protocol != "TCP" || listener.Port != 80 {
		t.Errorf("want the load balancer from-node with the listener web, TCP:80, got %+v", lb)
	}
	var has []netip.AddrPort
	for _, target := range listener.Targets {
		has = append(has, netip.AddrPortFrom(target.IP, uint16(target.Port)))
	}
	slices.SortFunc(has, netip.AddrPort.Compare)
	if diff := cmp.Diff(targets, has, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("the targets\n-want +got:\n%s", diff)
	}

	unbound := next("unbound")
	if unbound.Code != "InvalidParameter.ListenerIdNotFound" && unbound.Code != "InvalidParameter" {
		t.Errorf("want the refusal of an unknown listener to be the SDK's error, got code %q", unbound.Code)
	}
	if left := emulator.LoadBalancers()[0].Listeners[0].Targets; len(left) > 0 {
		t.Errorf("want no target, got %+v", left)
	}
	next("deleted")
	if left := emulator.LoadBalancers(); len(left) > 0 {
		t.Errorf("want no load balancer, got %+v", left)
	}
}

// startEmulator starts one in which a second takes a hundredth.
func startEmulator(ctx context.Context, t *testing.T) *clb.Server {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "node"})
	s, err := clb.Start(ctx, clb.Options{
		Store: store, Second: 10 * time.Millisecond, RequestRate: -1,
		Latencies: &clb.Latencies{Task: clb.Range{Min: 20 * time.Millisecond, Max: 30 * time.Millisecond}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve is a target that takes connections.
func serve(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// runClient starts the client and gives what to wait for its stages with. The first
// call waits for the first stage; each other one lets the client go on before.
func runClient(ctx context.Context, t *testing.T, modules, endpoint string, targets []netip.AddrPort) (next func(stage string) line) {
	t.Helper()
	type target struct {
		IP   string `json:"ip"`
		Port uint16 `json:"port"`
	}
	var list []target
	for _, a := range targets {
		list = append(list, target{a.Addr().String(), a.Port()})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	client := exec.CommandContext(ctx, "node", "client.cjs")
	// Nothing of this environment reaches it: no proxy, no credentials of somebody.
	client.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_PATH=" + modules,
		"ENDPOINT=" + endpoint, "SECRET_ID=id", "SECRET_KEY=key", "TARGETS=" + string(raw),
	}
	client.Stderr = &complaints
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // lets it go on from its last stage, to its end
		if err := client.Wait(); err != nil {
			t.Errorf("the client: %v: %s", err, complaints.String())
		}
	})

	stages := bufio.NewScanner(out)
	begun := false
	return func(stage string) line {
		t.Helper()
		if begun {
			if _, err := io.WriteString(in, "\n"); err != nil {
				t.Fatalf("going on to %s: %v", stage, err)
			}
		}
		begun = true
		if !stages.Scan() {
			t.Fatalf("the client ended before it was %s", stage)
		}
		var l line
		if err := json.Unmarshal(stages.Bytes(), &l); err != nil || l.Stage != stage {
			t.Fatalf("want the stage %s, got %q (%v)", stage, stages.Text(), err)
		}
		return l
	}
}
