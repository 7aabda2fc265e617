package dataplane

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRedirect(t *testing.T) {
	cases := map[string]struct {
		reason string
		to     Redirect
		asked  string
		status int
		want   string
	}{
		"TakeURL":  {"path and query go along", Redirect{Code: 301, Scheme: "https", Host: "b.test", Port: 443, Path: "/x", TakeURL: true}, "/a/b?c=d", 301, "https://b.test/a/b?c=d"},
		"Plain":    {"they stay behind, the target's path is taken", Redirect{Code: 302, Scheme: "https", Host: "b.test", Port: 443, Path: "/x"}, "/a/b?c=d", 302, "https://b.test/x"},
		"Port":     {"a port that isn't the usual one", Redirect{Code: 307, Scheme: "http", Host: "b.test", Port: 8081, Path: "= /x"}, "/", 307, "http://b.test:8081/x"},
		"Wildcard": {"a wildcard is no address: the client's own host", Redirect{Code: 301, Scheme: "https", Host: "*.test", Path: "/"}, "/", 301, "https://www.any.test/"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			s.rules(Rule{ID: "1", Path: "/", Redirect: &tc.to})
			response := s.do(s.client("127.88.0.1"), "www.any.test:8080", tc.asked)
			response.Body.Close()
			if response.StatusCode != tc.status {
				t.Errorf("%s: status %d", tc.reason, response.StatusCode)
			}
			if diff := cmp.Diff(tc.want, response.Header.Get("Location")); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSlashIsAdded(t *testing.T) {
	s := newStage(t, Options{})
	s.rules(Rule{ID: "1", Path: "/abc/", Targets: bound(s.named("a"))}, Rule{ID: "2", Path: "/", Targets: bound(s.named("b"))})
	response := s.do(s.client("127.88.0.1"), "a.test", "/abc?x=1")
	response.Body.Close()
	if got := response.Header.Get("Location"); response.StatusCode != 301 || got != "http://a.test/abc/?x=1" {
		t.Errorf("got %d %q", response.StatusCode, got)
	}
}

func TestCookieSession(t *testing.T) {
	cases := map[string]struct {
		reason    string
		rule      Rule
		cookie    string
		maxAge    int
		scheduler Scheduler
	}{
		"Default":   {reason: "weighted round robin has sessions", rule: Rule{Sticky: 30 * time.Second}, cookie: DefaultCookieName, maxAge: 30},
		"Named":     {reason: "by a name of one's own", rule: Rule{Sticky: time.Hour, CookieName: "mine"}, cookie: "mine", maxAge: 3600},
		"Off":       {reason: "zero is off", rule: Rule{CookieName: "mine"}},
		"LeastConn": {reason: "least connections has none", rule: Rule{Sticky: time.Hour, Scheduler: LeastConn}},
		"IPHash":    {reason: "the hash is one already", rule: Rule{Sticky: time.Hour, Scheduler: IPHash}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			tc.rule.ID, tc.rule.Path, tc.rule.Targets = "1", "/", bound(s.named("a"), s.named("b"), s.named("c"))
			s.rules(tc.rule)
			c := s.client("127.88.0.1")
			first := s.do(c, "", "/")
			body, err := io.ReadAll(first.Body)
			first.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			cookies := first.Cookies()
			if tc.cookie == "" {
				if len(cookies) > 0 {
					t.Errorf("%s: got %v", tc.reason, cookies)
				}
				return
			}
			if len(cookies) != 1 || cookies[0].Name != tc.cookie || cookies[0].MaxAge != tc.maxAge || cookies[0].Path != "/" {
				t.Fatalf("%s: got %v", tc.reason, cookies)
			}
			with := func(r *http.Request) { r.AddCookie(cookies[0]) }
			again := func() string {
				response := s.do(c, "", "/", with)
				defer response.Body.Close()
				got, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(got)
			}
			for range 5 {
				if got := again(); got != string(body) {
					t.Fatalf("%s: came to %q, then to %q", tc.reason, body, got)
				}
			}
			// The target gets no new requests, not even from those it knows.
			for i := range tc.rule.Targets {
				if tc.rule.Targets[i].Addr == s.targetOf("1", cookies[0].Value) {
					tc.rule.Targets[i].Weight = 0
				}
			}
			tc.rule.Targets = append([]Target(nil), tc.rule.Targets...)
			s.rules(tc.rule)
			if got := again(); got == string(body) {
				t.Errorf("weight 0 still gets %q", got)
			}
		})
	}
}

func TestPassiveCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		block time.Duration
		back  bool
	}{"Blocked": {block: time.Hour}, "Over": {block: time.Nanosecond, back: true}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{PassiveBlock: tc.block})
			var tried atomic.Int32
			bad := s.pod(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				tried.Add(1)
				panic(http.ErrAbortHandler)
			}))
			s.rules(Rule{ID: "1", Path: "/", Targets: bound(bad, s.named("good"))})
			got := s.spread(20, s.client("127.88.0.1"))
			want := map[string]int{"502": 3, "good": 17}
			if tc.back {
				want = map[string]int{"502": 10, "good": 10}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// Requests that were sent aren't sent again.
			if got := int(tried.Load()); got != want["502"] {
				t.Errorf("tried %d times", got)
			}
		})
	}
}

// TestFailuresInARow is the passive check's arithmetic.
func TestFailuresInARow(t *testing.T) {
	cases := map[string]struct {
		reason, events string
		want           string
	}{
		"Three":  {"three in a row block", "---", "..x"},
		"Broken": {"one that is served begins the count anew", "--+--", "....."},
		"Anew":   {"as does the end of a block", "---t--", "..x..."},
		"Longer": {"failures while it is blocked, all being dead, don't make it longer", "---m---n", "..xxxxx."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPool(New(Options{PassiveBlock: 10 * time.Second}), "tcp", netip.Addr{})
			one, now := &target{}, time.Time{}
			var got strings.Builder
			for _, event := range tc.events {
				switch event {
				case '-':
					p.failed(one, now)
				case '+':
					p.served(one)
				case 't':
					now = now.Add(10 * time.Second)
				case 'm':
					now = now.Add(time.Second)
				case 'n':
					now = now.Add(9 * time.Second)
				}
				got.WriteByte(map[bool]byte{true: 'x', false: '.'}[one.blocked(now)])
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAnswersEndTheCount has a target that fails often, but never three times in a row.
func TestAnswersEndTheCount(t *testing.T) {
	s := newStage(t, Options{PassiveBlock: time.Hour})
	p := s.pod(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic(http.ErrAbortHandler)
		}
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	for i, path := range []string{"/bad", "/bad", "/", "/bad", "/bad", "/bad"} {
		s.get("", path)
		if got, want := s.target("1", p).blocked(time.Now()), i == 5; got != want {
			t.Errorf("after %d requests blocked is %t", i+1, got)
		}
	}
}

// TestRefusedGoesElsewhere has a target that nobody listens on: no request is lost to
// it, with body or without, and after three it isn't tried any more.
func TestRefusedGoesElsewhere(t *testing.T) {
	s := newStage(t, Options{PassiveBlock: time.Hour})
	good := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	down := s.closedPort()
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(down, good)})
	c := s.client("127.88.0.1")
	for range 10 {
		response, err := c.Post(s.url("/"), "", strings.NewReader("the body"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != "the body" {
			t.Fatalf("got %d %q, %v", response.StatusCode, body, err)
		}
	}
	if !s.target("1", down).blocked(time.Now()) {
		t.Error("the target is tried on and on")
	}
}

// TestUnbindCutsDrainDoesNot has requests under way at a target that is unbound, or that
// is given weight 0, or whose whole rule goes.
func TestUnbindCutsDrainDoesNot(t *testing.T) {
	cases := map[string]struct {
		reason string
		opts   Options
		then   func(s *stage, r Rule)
		cut    bool
	}{
		"Unbind":     {reason: "an unbound target's requests are cut", then: func(s *stage, r Rule) { r.Targets = r.Targets[1:]; s.rules(r) }, cut: true},
		"RuleGone":   {reason: "so are a deleted rule's", then: func(s *stage, _ Rule) { s.rules() }, cut: true},
		"Keep":       {reason: "not with KeepUnbound", opts: Options{KeepUnbound: true}, then: func(s *stage, r Rule) { r.Targets = r.Targets[1:]; s.rules(r) }},
		"KeepRule":   {reason: "also for a rule", opts: Options{KeepUnbound: true}, then: func(s *stage, _ Rule) { s.rules() }},
		"WeightZero": {reason: "weight 0 lets them end", then: func(s *stage, r Rule) { r.Targets[0].Weight = 0; s.rules(r) }},
		"Rebind": {reason: "a target bound anew is another", then: func(s *stage, r Rule) {
			r.Targets[0] = (&pod{addr: r.Targets[0].Addr}).weighing(10)
			s.rules(r)
		}, cut: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.opts)
			release := make(chan struct{})
			busy := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				select {
				case <-release:
				case <-r.Context().Done():
				}
				io.WriteString(w, "whole")
			}))
			r := Rule{ID: "1", Path: "/", Targets: bound(busy)}
			s.rules(r)
			c := s.client("127.88.0.1")
			under := s.do(c, "", "/")
			defer under.Body.Close()

			r.Targets = append(r.Targets, s.named("other").weighing(10))
			s.rules(r)
			r.Targets = append([]Target(nil), r.Targets...)
			tc.then(s, r)
			if !tc.cut {
				close(release)
			}
			body, err := io.ReadAll(under.Body)
			if cut := err != nil; cut != tc.cut {
				t.Errorf("%s: read %q, %v", tc.reason, body, err)
			}
		})
	}
}

// TestSetKeepsClients changes everything under a client's connection.
func TestSetKeepsClients(t *testing.T) {
	s := newStage(t, Options{})
	a, b := s.named("a"), s.named("b")
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(a)})
	c := s.client("127.88.0.1")
	c.Transport.(*http.Transport).MaxConnsPerHost = 1
	dials := 0
	dial := c.Transport.(*http.Transport).DialContext
	c.Transport.(*http.Transport).DialContext = countDials(dial, &dials)
	want := []string{"a", "b", "b", "404 Not Found\n", "a"}
	var got []string
	for i, rules := range [][]Rule{
		{{ID: "1", Path: "/", Targets: bound(a)}},
		{{ID: "1", Path: "/", Targets: bound(b)}},
		{{ID: "2", Path: "/", Targets: bound(b)}},
		nil,
		{{ID: "1", Path: "/", Targets: bound(a)}},
	} {
		s.l.HTTP.KeepAlive = i%2 == 0
		s.rules(rules...)
		_, body := s.ask(c, "", "/")
		got = append(got, body)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if dials != 1 {
		t.Errorf("the client had to connect %d times", dials)
	}
}

// TestRulesKeepHealth adds rules beside one, and moves it, without its checks noticing.
func TestRulesKeepHealth(t *testing.T) {
	s := newStage(t, Options{})
	var v Verdict
	check := Check{On: true, Kind: "TCP", Interval: time.Millisecond, Timeout: time.Second, HealthNum: 2, UnHealthNum: 2}
	r := Rule{ID: "1", Path: "/", Check: check, Targets: []Target{{Addr: s.named("a").addr, Weight: 1, Verdict: &v}}}
	s.rules(r)
	awaitState(t, &v, Alive)
	checker := s.target("1", &pod{addr: r.Targets[0].Addr}).checker
	round := checker.round
	r.Path, r.Sticky = "/moved", time.Hour
	s.rules(Rule{ID: "0", Path: "/x", Check: check}, r)
	r.Targets = append(r.Targets, s.named("b").weighing(5))
	s.rules(r)
	if got := s.target("1", &pod{addr: r.Targets[0].Addr}).checker; got != checker || got.round != round || v.State() != Alive {
		t.Errorf("the checks began anew, it is %v", v.State())
	}
}

// TestCloseEndsEverything closes the plane with all kinds of things under way.
func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newStage(t, Options{KeepUnbound: true, TargetTimeout: time.Hour})
	s.l.HTTP.KeepAlive = true
	stuck := make(chan struct{}, 2)
	p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.Copy(conn, rw)
				conn.Close()
			}
			return
		}
		if r.URL.Path == "/stuck" {
			stuck <- struct{}{}
			<-r.Context().Done()
		}
	}))
	var v Verdict
	check := Check{On: true, Kind: "HTTP", Method: "HEAD", Path: "/", Version: "HTTP/1.1", Codes: 31, Interval: time.Millisecond, Timeout: time.Minute, HealthNum: 2, UnHealthNum: 2}
	rule := Rule{ID: "1", Path: "/", Check: check, Targets: []Target{{Addr: p.addr, Weight: 1, Verdict: &v}}}
	s.rules(rule)
	awaitState(t, &v, Alive)
	c := s.client("127.88.0.1")
	if status, _ := s.ask(c, "", "/"); status != http.StatusOK {
		t.Fatal(status)
	}
	_, upgraded := s.upgrade()
	_, retired := s.upgrade()
	cut := make(chan error, 1)
	go func() {
		response, err := c.Get(s.url("/stuck"))
		if err == nil {
			err = response.Body.Close()
		}
		cut <- err
	}()
	<-stuck
	// What is under way at a rule that went before must end too.
	rule.ID = "2"
	s.rules(rule)
	var closed atomic.Bool
	go func() {
		s.plane.Close()
		closed.Store(true)
	}()
	await(t, "the plane to close", closed.Load)
	if err := <-cut; err == nil {
		t.Error("the request under way was answered")
	}
	for _, r := range []*bufio.Reader{upgraded, retired} {
		if got, err := r.ReadByte(); err == nil {
			t.Errorf("read %q", got)
		}
	}
	if err := s.plane.Set(s.l); err == nil {
		t.Error("a closed plane took a listener")
	}
	await(t, "connections to the pod to end", func() bool { return p.open.Load() == 0 })
	c.CloseIdleConnections()
	p.server.Close()
	await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}
