package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
)

// batching answers each event of a request with how many milliseconds its partition's
// name has letters, and holds requests until released.
type batching struct {
	t       *testing.T
	hold    chan struct{}
	mu      sync.Mutex
	sizes   []int
	largest int
	answer  func(n int) int
}

func (b *batching) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	headers := map[string]string{}
	for k := range r.Header {
		headers[strings.ToLower(k)] = r.Header.Get(k)
	}
	raw, err := json.Marshal(map[string]any{"httpMethod": "POST", "headers": headers, "body": string(body)})
	if err != nil {
		b.t.Error(err)
	}
	d, err := event.Decode(raw, event.Receiver{Secret: secret}, time.Now())
	if err != nil {
		b.t.Errorf("the door refuses: %v", err)
		return
	}
	b.mu.Lock()
	b.sizes, b.largest = append(b.sizes, len(d.Requests)), max(b.largest, len(body))
	b.mu.Unlock()
	<-b.hold
	n := len(d.Requests)
	if b.answer != nil {
		n = b.answer(n)
	}
	var all []json.RawMessage
	for _, q := range d.Requests[:n] {
		e, err := event.Reply{RequeueAfterMillis: int64(len(q.Partition))}.Encode(q.ID, q.Source, time.Now())
		if err != nil {
			b.t.Error(err)
		}
		one, err := json.Marshal(e)
		if err != nil {
			b.t.Error(err)
		}
		all = append(all, one)
	}
	var out any = all
	if !d.Batch {
		out = all[0]
	}
	_ = json.NewEncoder(w).Encode(out)
}

func eventOf(t *testing.T, partition string, padding int) []byte {
	t.Helper()
	s := event.Sync{Cluster: "cls-1", Attempt: "a", LoadBalancers: []string{"lb-1"}}
	for i := range padding {
		s.Objects = append(s.Objects, event.Ref{Namespace: strings.Repeat("n", 60), Name: fmt.Sprintf("%060d", i)})
	}
	e, err := event.Request{ID: partition, Function: event.Backends, Source: "/clusters/cls-1", Partition: partition, Sequence: "1", Sync: s}.Encode(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestBatchCarriesWhatWaits: the first event goes at once and alone; what comes while the
// only connection is busy goes together, within the limits, and each gets its own reply.
func TestBatchCarriesWhatWaits(t *testing.T) {
	cases := map[string]struct {
		reason  string
		events  int
		padding int
		most    int
		want    []int
	}{
		"Few":   {"all that waits in one", 5, 0, 10, []int{1, 5}},
		"Many":  {"split by number", 25, 0, 10, []int{1, 10, 10, 5}},
		"Large": {"split by size: 3 MB, as quotes double on the way", 100, 300, 100, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := &batching{t: t, hold: make(chan struct{})}
			s := httptest.NewServer(b)
			defer s.Close()
			u, err := NewURL(functions(s.URL), secret, 1)
			if err != nil {
				t.Fatal(err)
			}
			tr := &Batch{URL: u, Width: 1, Most: c.most}
			defer tr.Close()
			var sends sync.WaitGroup
			send := func(partition string) {
				raw := eventOf(t, partition, c.padding)
				sends.Go(func() {
					reply, err := tr.Send(t.Context(), event.Backends, raw)
					if err != nil || int(reply.RequeueAfterMillis) != len(partition) {
						t.Errorf("%s got %+v, %v", partition, reply, err)
					}
				})
			}
			waiting := func() int { tr.mu.Lock(); defer tr.mu.Unlock(); return len(tr.lanes[event.Backends].waiting) }
			send("x")
			for b.count() == 0 {
				time.Sleep(time.Millisecond)
			}
			for i := range c.events {
				send(strings.Repeat("p", i+2))
			}
			for waiting() < c.events {
				time.Sleep(time.Millisecond)
			}
			close(b.hold)
			sends.Wait()
			if c.want != nil && fmt.Sprint(b.sizes) != fmt.Sprint(c.want) {
				t.Errorf("%s: got %v, want %v", c.reason, b.sizes, c.want)
			}
			if b.largest > maxBatch+1<<10 || c.want == nil && len(b.sizes) < 3 {
				t.Errorf("%s: %d bytes in one of %v", c.reason, b.largest, b.sizes)
			}
		})
	}
}

func (b *batching) count() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sizes) }

func TestBatchWithoutAllRepliesIsNoAnswer(t *testing.T) {
	b := &batching{t: t, hold: make(chan struct{}), answer: func(n int) int { return max(1, n-1) }}
	s := httptest.NewServer(b)
	defer s.Close()
	u, err := NewURL(functions(s.URL), secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	tr := &Batch{URL: u, Width: 1, Most: 10}
	defer tr.Close()
	errs := make(chan error, 3)
	go func() { _, err := tr.Send(t.Context(), event.Backends, eventOf(t, "a", 0)); errs <- err }()
	for b.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, p := range []string{"b", "c"} {
		raw := eventOf(t, p, 0)
		go func() { _, err := tr.Send(t.Context(), event.Backends, raw); errs <- err }()
	}
	for waiting := 0; waiting < 2; {
		tr.mu.Lock()
		waiting = len(tr.lanes[event.Backends].waiting)
		tr.mu.Unlock()
	}
	close(b.hold)
	bad := 0
	for range 3 {
		if err := <-errs; err != nil {
			bad++
		}
	}
	if bad != 2 {
		t.Errorf("%d sends failed, want both of the batch", bad)
	}
}

// A sender that gives up doesn't wait for the others of its batch.
func TestBatchKeepsDeadlines(t *testing.T) {
	b := &batching{t: t, hold: make(chan struct{})}
	s := httptest.NewServer(b)
	defer s.Close()
	defer close(b.hold)
	u, err := NewURL(functions(s.URL), secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	tr := &Batch{URL: u, Width: 1, Most: 10}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := tr.Send(ctx, event.Backends, eventOf(t, "a", 0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

// A server whose certificate nobody vouches for gets nothing.
func TestURLVerifiesTLS(t *testing.T) {
	got := false
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got = true }))
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	u, err := NewURL(functions(s.URL), secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.Send(t.Context(), event.Backends, payload(t)); err == nil || got {
		t.Errorf("sent to a server without a name: %v", err)
	}
}

func TestThrottledAndRefusedAreKnown(t *testing.T) {
	cases := map[string]struct {
		reason             string
		status             int
		scf, after         string
		throttled, refused bool
		wait               time.Duration
	}{
		"Burst":       {"too many at once", 429, "429", "", true, false, 0},
		"Concurrency": {"no instance is left", 432, "432", "", true, false, 0},
		"RetryAfter":  {"somebody in between says how long", 503, "", "7", true, false, 7 * time.Second},
		"TooLong":     {"nobody may silence us for long", 503, "", "86400", true, false, time.Minute},
		"Nonsense":    {"what makes no sense says nothing", 503, "", "soon", false, false, 0},
		"NotJSON":     {"it will never run", 400, "400", "", false, true, 0},
		"OurDoor":     {"the function itself refused", 400, "200", "", false, true, 0},
		"Internal":    {"may pass", 500, "500", "", false, false, 0},
		"Timeout":     {"may pass", 433, "433", "", false, false, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.scf != "" {
					w.Header().Set("X-Scf-Status", c.scf)
				}
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			u, err := NewURL(functions(s.URL), secret, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			_, err = u.Send(t.Context(), event.Backends, payload(t))
			f := FailureOf(err)
			if f == nil || f.Throttled != c.throttled || f.Refused != c.refused || f.RetryAfter != c.wait {
				t.Errorf("%s: got %+v", c.reason, f)
			}
		})
	}
}

// TestUrgentGoesFirst: what a drain sends is before what else waits for a connection, in
// the order in which it came, and everything is carried once.
func TestUrgentGoesFirst(t *testing.T) {
	b := &Batch{Most: 2}
	l := &lane{}
	for _, name := range []string{"a", "b", "C", "d", "E"} {
		l.put(&parcel{payload: []byte(name), urgent: name < "a"})
	}
	var got []string
	for load := b.load(l); load != nil; load = b.load(l) {
		var names string
		for _, p := range load {
			names += string(p.payload)
		}
		got = append(got, names)
		if len(got) == 1 {
			l.put(&parcel{payload: []byte("F"), urgent: true})
		}
	}
	if diff := cmp.Diff([]string{"CE", "Fa", "bd"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
