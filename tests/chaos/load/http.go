package load

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// web is vegeta asking over HTTP at a constant rate.
type web struct {
	target Target
	from   *ports
	kept   bool
	report func(Sample)
	// seen has what became of requests on their way, by vegeta's number.
	seen sync.Map
}

func (w *web) kind() Kind {
	if w.kept {
		return Kept
	}
	return Short
}

func (w *web) run(ctx context.Context, rate float64) {
	if rate <= 0 {
		return
	}
	transport := &http.Transport{DialContext: w.dial, DisableKeepAlives: !w.kept, MaxIdleConnsPerHost: 4}
	defer transport.CloseIdleConnections()
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Timeout: patience, Transport: &witness{web: w, to: transport}}),
		vegeta.Workers(2), vegeta.MaxWorkers(64), vegeta.MaxBody(-1),
	)
	context.AfterFunc(ctx, func() { attacker.Stop() })
	url := "http://" + w.target.Web.String() + "/"
	targeter := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: url})
	pace := vegeta.ConstantPacer{Freq: int(rate * 1000), Per: 1000 * time.Second}
	for result := range attacker.Attack(targeter, pace, 0, "") {
		w.report(w.sample(result))
	}
}

// dial notes where a request comes from that never gets a connection.
func (w *web) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, from, err := w.from.dial(ctx, w.target.Web)
	if on, ok := ctx.Value(wayKey{}).(*way); ok && err != nil {
		on.mu.Lock()
		defer on.mu.Unlock()
		on.from = from
	}
	return conn, err
}

func (w *web) sample(r *vegeta.Result) Sample {
	s := Sample{Kind: w.kind(), Site: w.target.Site, To: w.target.Web, Sent: r.Timestamp, Ended: r.End(), Opened: r.Timestamp}
	if seen, ok := w.seen.LoadAndDelete(r.Seq); ok {
		way := seen.(*way)
		way.mu.Lock()
		defer way.mu.Unlock()
		s.From, s.Repeated = way.from, way.conns > 1
		if !way.opened.IsZero() {
			s.Opened = way.opened
		}
	}
	if r.Error != "" {
		s.Err = errors.New(r.Error)
		return s
	}
	s.Answer, s.Err = read(r.Body)
	return s
}

// way is how a request went.
type way struct {
	mu     sync.Mutex
	conns  int
	from   netip.AddrPort
	opened time.Time
}

// wayKey finds it in a request's context.
type wayKey struct{}

// witness sees over which connection each request goes.
type witness struct {
	web   *web
	to    *http.Transport
	ports sync.Map // when each connection was opened, by its own address
}

// RoundTrip is http.RoundTripper's.
func (t *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	seq, err := strconv.ParseUint(r.Header.Get("X-Vegeta-Seq"), 10, 64)
	if err != nil {
		return nil, err
	}
	w := &way{}
	t.web.seen.Store(seq, w)
	ctx := httptrace.WithClientTrace(context.WithValue(r.Context(), wayKey{}, w), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		from := info.Conn.LocalAddr().(*net.TCPAddr).AddrPort()
		if !info.Reused {
			t.ports.Store(from, time.Now())
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.conns++
		w.from = from
		if at, ok := t.ports.Load(from); ok {
			w.opened = at.(time.Time)
		}
	}})
	return t.to.RoundTrip(r.WithContext(ctx))
}
