package dataplane

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestForwardsByHostAndPath(t *testing.T) {
	s := newStage(t, Options{})
	a, b, c := s.named("a"), s.named("b"), s.named("c")
	s.l.HTTP.DefaultDomain = "*.b.test"
	s.set(
		Domain{Name: "a.test", Rules: []Rule{
			{ID: "1", Path: "/x", Targets: bound(a)},
			{ID: "2", Path: "= /x", Targets: bound(c)},
		}},
		Domain{Name: "*.b.test", Rules: []Rule{{ID: "3", Path: "/", Targets: bound(b)}}},
	)
	type answer struct {
		Status int
		Body   string
	}
	cases := map[string]struct {
		reason     string
		host, path string
		want       answer
	}{
		"Exact":     {"an exact path comes first", "a.test", "/x", answer{200, "c"}},
		"Prefix":    {"a path matches as a prefix", "A.Test:80", "/x/y?z=1", answer{200, "a"}},
		"NoPath":    {"a domain without a fitting path doesn't give way to the default one", "a.test", "/y", answer{404, "404 Not Found\n"}},
		"Wildcard":  {"a wildcard domain", "x.b.test", "/", answer{200, "b"}},
		"Otherwise": {"the default domain serves whom no other does", "c.test", "/", answer{200, "b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, body := s.get(tc.host, tc.path)
			if diff := cmp.Diff(tc.want, answer{status, body}); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAnswersWithoutTargets(t *testing.T) {
	cases := map[string]struct {
		reason string
		target func(s *stage) []Target
		want   int
	}{
		"None":    {"no target is bound", func(*stage) []Target { return nil }, http.StatusBadGateway},
		"Zero":    {"all weigh nothing", func(s *stage) []Target { return []Target{s.named("a").weighing(0)} }, http.StatusBadGateway},
		"Refused": {"none can be connected to", func(s *stage) []Target { return bound(s.closedPort(), s.closedPort()) }, http.StatusBadGateway},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			s.rules(Rule{ID: "1", Path: "/", Targets: tc.target(s)})
			if got, _ := s.get("", "/"); got != tc.want {
				t.Errorf("%s: status %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

func TestSpreadsRequestsByWeight(t *testing.T) {
	s := newStage(t, Options{})
	targets := []Target{s.named("a").weighing(30), s.named("b").weighing(10), s.named("c").weighing(0)}
	s.rules(Rule{ID: "1", Path: "/", Targets: targets})
	// One connection: it is requests that are spread.
	if diff := cmp.Diff(map[string]int{"a": 30, "b": 10}, s.spread(40, s.client("127.88.0.1"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestIPHashKeepsClients(t *testing.T) {
	s := newStage(t, Options{})
	s.rules(Rule{ID: "1", Path: "/", Scheduler: IPHash, Targets: bound(s.named("a"), s.named("b"))})
	seen := map[string]bool{}
	for i := range 16 {
		c := s.client(netip.AddrFrom4([4]byte{127, 88, 1, byte(i)}).String())
		got := s.spread(4, c)
		if len(got) != 1 {
			t.Errorf("requests of one address were spread: %v", got)
		}
		for name := range got {
			seen[name] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("sixteen addresses have all met %v", seen)
	}
}

func TestLeastConnCountsRequests(t *testing.T) {
	s := newStage(t, Options{})
	busy, release := make(chan struct{}, 1), make(chan struct{})
	slow := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			busy <- struct{}{}
			<-release
		}
		w.Write([]byte("slow"))
	}))
	s.rules(Rule{ID: "1", Path: "/", Scheduler: LeastConn, Targets: bound(slow)})
	done := make(chan struct{})
	go func() { defer close(done); s.get("", "/slow") }()
	<-busy
	// The request that slow is busy with outlives the change.
	targets := append(targetsOf(s, "1"), s.named("idle").weighing(10))
	s.rules(Rule{ID: "1", Path: "/", Scheduler: LeastConn, Targets: targets})
	if diff := cmp.Diff(map[string]int{"idle": 6}, s.spread(6, s.client("127.88.0.1"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	close(release)
	<-done
}

// targetsOf is the targets of a rule as they were set last.
func targetsOf(s *stage, id string) []Target {
	for _, d := range s.l.HTTP.Domains {
		for _, r := range d.Rules {
			if r.ID == id {
				return r.Targets[:len(r.Targets):len(r.Targets)]
			}
		}
	}
	return nil
}

func TestHealthDecides(t *testing.T) {
	s := newStage(t, Options{})
	var sick, well Verdict
	check := Check{
		On: true, Kind: "HTTP", Method: "HEAD", Path: "/health", Domain: "check.test", Version: "HTTP/1.1", Codes: 2,
		Interval: 10 * time.Millisecond, Timeout: 5 * time.Second, HealthNum: 2, UnHealthNum: 2,
	}
	a := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "HEAD" {
			w.WriteHeader(500)
		}
	}))
	b := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "HEAD" && (r.URL.Path != "/health" || r.Host != "check.test" || hostOf(r.RemoteAddr) != s.l.Addr.Addr().String()) {
			w.WriteHeader(500)
		}
		w.Write([]byte("b"))
	}))
	s.rules(Rule{ID: "1", Path: "/", Check: check, Targets: []Target{
		{Addr: a.addr, Weight: 10, Verdict: &sick}, {Addr: b.addr, Weight: 10, Verdict: &well},
	}})
	awaitState(t, &sick, Dead)
	awaitState(t, &well, Alive)
	if diff := cmp.Diff(map[string]int{"b": 8}, s.spread(8, s.client("127.88.0.1"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
