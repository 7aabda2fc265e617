package watch

import (
	"io"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"
)

// Silence is how long a watch may say nothing. The API server sends a bookmark
// about every minute; a watch that is silent for longer is dead without knowing.
const Silence = 90 * time.Second

// Pulse feels the cluster-wide watches of one client: it counts lists, knows when
// each resource was last heard of, and breaks off a watch that has gone silent, so
// that its reflector begins a new one.
type Pulse struct {
	// Silence after which a watch is broken off; zero means Silence.
	Silence time.Duration
	Now     func() time.Time

	mu    sync.Mutex
	lists map[string]int
	heard map[string]time.Time
}

// Wrap feels what goes through next (rest.Config.Wrap).
func (p *Pulse) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resource, watching := p.kind(r)
		resp, err := next.RoundTrip(r)
		if err != nil || resource == "" || resp.StatusCode != http.StatusOK {
			return resp, err
		}
		p.hear(resource)
		if watching {
			resp.Body = p.feel(resource, resp.Body)
		}
		return resp, nil
	})
}

// Lists is how often each resource was listed or its initial state streamed.
func (p *Pulse) Lists() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]int{}
	for k, v := range p.lists {
		out[k] = v
	}
	return out
}

// Ages is how long ago each resource was last heard of.
func (p *Pulse) Ages() map[string]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]time.Duration{}
	for k, v := range p.heard {
		out[k] = p.Now().Sub(v)
	}
	return out
}

// kind tells which resource a cluster-wide list or watch is about, and counts lists.
func (p *Pulse) kind(r *http.Request) (resource string, watching bool) {
	if r.Method != http.MethodGet || !felt(r.URL.Path) {
		return "", false
	}
	name := path.Base(r.URL.Path)
	q := r.URL.Query()
	watching = q.Get("watch") == "true" || q.Get("watch") == "1"
	if !watching && q.Get("continue") == "" || q.Get("sendInitialEvents") == "true" {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lists == nil {
			p.lists = map[string]int{}
		}
		p.lists[name]++
	}
	return name, watching
}

// watched are the resources of every version that we list everywhere.
var watched = map[string][]string{
	"/api/v1":                         {"pods", "services", "secrets"},
	"/apis/networking.k8s.io/v1":      {"ingresses"},
	"/apis/networking.k8s.io/v1beta1": {"ingresses"},
	"/apis/extensions/v1beta1":        {"ingresses"},
	"/apis/" + ServiceConfigs.Group + "/" + ServiceConfigs.Version: {ServiceConfigs.Resource},
}

// felt tells whether a path is that of all objects of a watched resource.
func felt(p string) bool { return slices.Contains(watched[path.Dir(p)], path.Base(p)) }

func (p *Pulse) hear(resource string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == nil {
		p.heard = map[string]time.Time{}
	}
	p.heard[resource] = p.Now()
}

func (p *Pulse) feel(resource string, from io.ReadCloser) io.ReadCloser {
	limit := p.Silence
	if limit == 0 {
		limit = Silence
	}
	b := &body{ReadCloser: from, limit: limit, hear: func() { p.hear(resource) }}
	b.timer = time.AfterFunc(limit, func() { _ = from.Close() })
	return b
}

// body is a watch's.
type body struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	hear  func()
}

// Read notes that the watch lives.
func (b *body) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	if n > 0 {
		b.hear()
		b.timer.Reset(b.limit)
	}
	return n, err
}

// Close ends the watch.
func (b *body) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
