package drain

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// rig is a gate before a Service web with the pod a, whose container app has the id c-1.
type rig struct {
	*Gate
	index *index.Index
	pod   model.Pod

	mu    sync.Mutex
	sent  []work.Mark
	ended []Outcome
}

func newRig(set ...func(*Options)) *rig {
	r := &rig{index: index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation, Network: desired.VPCCNI})}
	r.index.SetService(model.Service{
		Front: model.Front{Kind: model.KindService, Namespace: "shop", Name: "web", UID: "uid-web", ResourceVersion: "1",
			Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: "lb-1"}},
		Type: "LoadBalancer", Selector: map[string]string{"app": "web"}, Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80, TargetPort: 80}},
	})
	r.pod = model.Pod{
		Namespace: "shop", Name: "a", UID: "uid-a", ResourceVersion: "1", Phase: "Running", IP: "10.0.0.1", Gated: true,
		Labels: map[string]string{"app": "web"}, Annotations: map[string]string{model.DrainToken: "token"},
		Containers: map[string]string{"app": "c-1"}, Grace: 30 * time.Second,
	}
	r.index.SetPod(r.pod)
	o := Options{
		Index: r.index, Log: slog.New(slog.DiscardHandler),
		Send: func(m []work.Mark) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sent = append(r.sent, m...)
		},
		Count: func(out Outcome, _ time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, out)
		},
	}
	for _, f := range set {
		f(&o)
	}
	r.Gate = New(o)
	return r
}

// ask asks as a kubelet does, and says what it was answered and after how long.
func (r *rig) ask(ctx context.Context, path string) (status int, took time.Duration) {
	mux := http.NewServeMux()
	mux.Handle(Pattern, r)
	w := httptest.NewRecorder()
	began := time.Now()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx))
	return w.Code, time.Since(began)
}

// say has the pod seen with conditions as backends writes them.
func (r *rig) say(marked, drained bool) {
	p := r.pod
	p.ResourceVersion += "0"
	if marked {
		p.Drains, p.Draining = map[string]model.Drain{"app": {ID: "c-1", At: time.Now()}}, true
	}
	p.Drained = &model.Condition{Status: drained}
	r.pod = p
	r.index.SetPod(p)
}

const hook = "/drain/shop/token/app"

// TestHeldUntilDrained: SIGTERM waits for the condition, and then for the data plane.
func TestHeldUntilDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		go func() {
			time.Sleep(500 * time.Millisecond)
			r.say(true, false)
			time.Sleep(500 * time.Millisecond)
			r.say(true, true)
		}()
		if status, took := r.ask(t.Context(), hook); status != http.StatusOK || took != 3*time.Second {
			t.Errorf("want 200 a propagation of 2 s after the condition, got %d after %s", status, took)
		}
		if len(r.sent) == 0 || !r.sent[0].Look.Urgent || r.sent[0].Look.Pods()[0].Draining != "app=c-1" {
			t.Errorf("want an urgent mark that names the container, got %+v", r.sent)
		}
		if r.Held() != 0 {
			t.Errorf("%d are still held", r.Held())
		}
	})
}

// TestQuiet: a replica that stops may go when nobody has asked for long, held or not.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		if r.Quiet() < time.Hour {
			t.Errorf("nobody has ever asked, and it was quiet for %s only", r.Quiet())
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.ask(t.Context(), hook)
		}()
		time.Sleep(time.Second)
		if got := r.Quiet(); got != 0 {
			t.Errorf("somebody is held, and it was quiet for %s", got)
		}
		r.say(true, true)
		<-done
		r.ask(t.Context(), "/drain/shop/nobody/app")
		time.Sleep(3 * time.Second)
		if got := r.Quiet(); got != 3*time.Second {
			t.Errorf("somebody asked in vain three seconds ago, and it was quiet for %s", got)
		}
	})
}

func TestOutcomes(t *testing.T) {
	cases := map[string]struct {
		reason, path string
		set          func(*Options)
		before       func(*rig)
		meanwhile    func(*rig)
		status       int
		want         Outcome
		took         time.Duration
	}{
		"Late":      {reason: "nobody drains: the hold is half of the grace period", path: hook, status: 504, want: Late, took: 15 * time.Second},
		"Token":     {reason: "a wrong token", path: "/drain/shop/other/app", status: 404, want: Unknown},
		"Namespace": {reason: "another namespace", path: "/drain/else/token/app", status: 404, want: Unknown},
		"Container": {reason: "no such container", path: "/drain/shop/token/web", status: 404, want: Unknown},
		"Full":      {reason: "as many as may be are held", path: hook, set: func(o *Options) { o.Most = -1 }, status: 503, want: Full},
		"NoService": {reason: "nothing of ours serves it", path: hook, before: func(r *rig) { r.pod.Labels = nil; r.say(false, false) }, status: 200, want: Unbound},
		"NoAddress": {reason: "it was never bound", path: hook, before: func(r *rig) { r.pod.IP = ""; r.say(false, false) }, status: 200, want: Unbound},
		"Gone":      {reason: "the pod is gone meanwhile", path: hook, meanwhile: func(r *rig) { r.index.DeletePod(r.pod) }, status: 200, want: Unbound, took: time.Second},
		"Older":     {reason: "drained for another mark is not drained", path: hook, before: func(r *rig) { r.say(false, true) }, status: 504, want: Late, took: 15 * time.Second},
		"Delay":     {reason: "connections get the time that the pod asks for", path: hook, before: func(r *rig) { r.pod.Annotations[model.DrainDelay] = "3"; r.say(true, true) }, status: 200, want: Drained, took: 5 * time.Second},
		"LongDelay": {reason: "but no more than a hold may take", path: hook, before: func(r *rig) { r.pod.Annotations[model.DrainDelay] = "300"; r.say(true, true) }, status: 504, want: Late, took: 15 * time.Second},
		"OddDelay":  {reason: "what can't be read is none", path: hook, before: func(r *rig) { r.pod.Annotations[model.DrainDelay] = "soon"; r.say(true, true) }, status: 200, want: Drained, took: 2 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set []func(*Options)
				if tc.set != nil {
					set = append(set, tc.set)
				}
				r := newRig(set...)
				if tc.before != nil {
					tc.before(r)
				}
				if tc.meanwhile != nil {
					time.AfterFunc(time.Second, func() { tc.meanwhile(r) })
				}
				status, took := r.ask(t.Context(), tc.path)
				if status != tc.status || took != tc.took {
					t.Errorf("%s: want %d after %s, got %d after %s", tc.reason, tc.status, tc.took, status, took)
				}
				if tc.want != "" && !slices.Equal(r.ended, []Outcome{tc.want}) {
					t.Errorf("%s: want %s, got %v", tc.reason, tc.want, r.ended)
				}
			})
		})
	}
}

// TestAskedAgain: what nobody answers is sent again, until the kubelet gives up.
func TestAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3500*time.Millisecond, context.Canceled)
		defer cancel()
		gone, end := context.WithCancel(context.WithoutCancel(ctx))
		context.AfterFunc(ctx, end)
		r.ask(gone, hook)
		if len(r.sent) != 4 { // at once, and after 1, 2 and 3 s
			t.Errorf("sent %d times, want 4", len(r.sent))
		}
		if !slices.Equal(r.ended, []Outcome{Broken}) {
			t.Errorf("got %v", r.ended)
		}
	})
}
