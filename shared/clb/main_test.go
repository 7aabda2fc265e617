package clb

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/model"
)

const uid = "aaaaaaaa-0000-4000-8000-000000000001"

// rig is an emulated account, reached through the real SDK.
type rig struct {
	*Session
	t      *testing.T
	server *emulator.Server
	client *Client
}

// freely lets a session make as many calls as it likes.
var freely = map[string]float64{"*": 10_000}

func newRig(t *testing.T, set ...func(*emulator.Options)) *rig {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester"})
	opts := emulator.Options{Store: store, Latencies: &emulator.Latencies{}, RequestRate: -1, Seed: 1}
	for _, f := range set {
		f(&opts)
	}
	server, err := emulator.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	client := mustClient(t, server, func() (string, string, string) { return "id", "key", "" })
	return &rig{Session: client.Session(freely, nil), t: t, server: server, client: client}
}

func mustClient(t *testing.T, server *emulator.Server, credentials func() (string, string, string)) *Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := New(Options{Region: "ap-test", Endpoint: "http://" + server.Endpoint(), Credentials: credentials, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// loadBalancer makes a CLB and waits until it is Ready.
func (r *rig) loadBalancer(token string, tags map[string]string) string {
	r.t.Helper()
	id, err := r.CreateLoadBalancer(r.t.Context(), LoadBalancerSpec{Name: "test", ClientToken: token, Tags: tags})
	if err != nil {
		r.t.Fatal(err)
	}
	r.await("the load balancer", func() bool {
		found, err := r.LoadBalancers(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		return len(found) == 1 && found[0].Ready
	})
	return id
}

// listeners makes TCP listeners at ports 80, 81 and so on.
func (r *rig) listeners(lb string, n int) []string {
	r.t.Helper()
	var wanted []model.WantedListener
	for i := range n {
		wanted = append(wanted, model.WantedListener{Name: "l", Protocol: model.TCP, Port: 80 + i})
	}
	ids, err := r.CreateListeners(r.t.Context(), lb, wanted)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(ids) != n {
		r.t.Fatalf("want %d listeners, got %v", n, ids)
	}
	return ids
}

// await asks until done, for at most ten seconds.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			r.t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// spoil has the next n calls of action go wrong as f says.
func (r *rig) spoil(action string, n int, f emulator.Fault) {
	var mu sync.Mutex
	remove := r.server.Intercept(func(_ context.Context, c emulator.Call) *emulator.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Action != action || n == 0 {
			return nil
		}
		n--
		return &f
	})
	r.t.Cleanup(remove)
}

func refuse(code string) emulator.Fault {
	return emulator.Fault{Error: &tc3.Error{Code: code, Message: "told to"}}
}

// backends are n targets of weight 10 at a listener, 127.77.x.y:8080, where nobody answers.
func backends(listener string, n int) []model.Target {
	var out []model.Target
	ip := netip.MustParseAddr("127.77.0.0")
	for range n {
		ip = ip.Next()
		out = append(out, model.Target{Place: model.Place{Listener: listener}, Address: model.Address{IP: ip.String(), Port: 8080}, Weight: 10, Tag: uid})
	}
	return out
}

// bound are a CLB's targets as the API shows them, without when they were registered.
func (r *rig) bound(lb string, listeners []string, ips ...string) map[model.Key]model.Target {
	r.t.Helper()
	got, err := r.Targets(r.t.Context(), lb, listeners, TargetFilter{IPs: ips})
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[model.Key]model.Target{}
	for _, t := range got {
		if t.Registered.IsZero() {
			r.t.Errorf("%s has no time of registration", t.Key())
		}
		t.Registered = time.Time{}
		out[t.Key()] = t
	}
	return out
}

func byKey(targets []model.Target) map[model.Key]model.Target {
	out := map[model.Key]model.Target{}
	for _, t := range targets {
		out[t.Key()] = t
	}
	return out
}
