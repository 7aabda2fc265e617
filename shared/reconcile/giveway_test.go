package reconcile

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// leases is an API server that has Leases alone, and speaks protobuf.
type leases struct {
	codec *protobuf.Serializer

	mu   sync.Mutex
	held map[string]*coordinationv1.Lease
	n    int
}

func newLeases(t *testing.T) (*leases, *kube.Client) {
	t.Helper()
	l := &leases{codec: protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), held: map[string]*coordinationv1.Lease{}}
	web := httptest.NewServer(l)
	t.Cleanup(web.Close)
	c, err := kube.New(&rest.Config{Host: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// holder is who has the Lease of that name, "" for nobody.
func (l *leases) holder(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.held[name]; o != nil {
		return *o.Spec.HolderIdentity
	}
	return ""
}

func (l *leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer := l.serve(r)
	if lease, ok := answer.(*coordinationv1.Lease); ok {
		lease.TypeMeta = metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		w.WriteHeader(status)
		_ = l.codec.Encode(lease, w) // a client that went away fails its test
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (l *leases) serve(r *http.Request) (int, any) {
	switch r.URL.Path {
	case "/version", "/apis/coordination.k8s.io":
		return http.StatusOK, map[string]any{"major": "1", "minor": "34", "versions": []metav1.GroupVersionForDiscovery{{Version: "v1"}}}
	}
	var sent coordinationv1.Lease
	name := path.Base(r.URL.Path)
	if r.Method != http.MethodGet {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, _, err = l.codec.Decode(body, nil, &sent)
		}
		if err != nil {
			return refuse(http.StatusBadRequest, metav1.StatusReasonBadRequest)
		}
		name = sent.Name
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.held[name]
	switch {
	case r.Method == http.MethodGet && have == nil:
		return refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodGet:
		return http.StatusOK, have.DeepCopy()
	case (have == nil) != (r.Method == http.MethodPost), have != nil && have.ResourceVersion != sent.ResourceVersion:
		return refuse(http.StatusConflict, metav1.StatusReasonConflict)
	}
	l.n++
	sent.ResourceVersion = strconv.Itoa(l.n)
	l.held[name] = &sent
	return http.StatusOK, sent.DeepCopy()
}

// contended is a pass that holds a CLB's Lease, at a bench, and a drain that waits for it.
type contended struct {
	*bench
	*leases
	release func()
	drained chan string // who has the Lease when the drain gets it
}

func newContended(t *testing.T, sync event.Sync) *contended {
	t.Helper()
	c := &contended{bench: newBench(t), drained: make(chan string, 1)}
	var client *kube.Client
	c.leases, client = newLeases(t)
	w := *c.pass.World
	w.Kube, w.LeaseNamespace, w.Now = client, "system", time.Now
	c.pass.World = &w
	c.pass.req.Sync = sync
	c.pass.req.Sync.Attempt, c.pass.req.Sync.Grant = "holder", map[string]float64{"*": 10_000}
	var ok bool
	if c.session, c.release, ok = c.pass.lock(t.Context(), c.lb); !ok {
		t.Fatalf("the Lease can't be had: %+v", c.pass.reply)
	}
	return c
}

// wait has a drain wait.
func (c *contended) wait() {
	c.t.Helper()
	drain := c.pass.World.begin(event.Request{Sync: event.Sync{Attempt: "drain", Grant: map[string]float64{"*": 10_000}, Pods: []event.Pod{{Draining: "app=c-1"}}}})
	go func() {
		_, release, ok := drain.lock(c.t.Context(), c.lb)
		if !ok {
			c.drained <- ""
			return
		}
		c.drained <- c.holder(leaseOf(c.lb))
		release()
	}()
	for deadline := time.Now().Add(10 * time.Second); c.holder(waitingFor(c.lb)) == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the drain doesn't say that it waits")
		}
	}
}

func (c *contended) steps() []plan.Step {
	return []plan.Step{{Kind: plan.Bind, Targets: c.targets(c.a, 0, 2, 10)}, {Kind: plan.Bind, Targets: c.targets(c.b, 5, 7, 10)}}
}

// A pass gives way to a drain after a write, and stands back until that has the Lease.
func TestPassGivesWayToADrain(t *testing.T) {
	t.Parallel()
	c := newContended(t, event.Sync{All: true})
	c.wait()
	c.run(t.Context(), c.steps())
	if !c.reply.Continue || len(c.bound()) != 2 {
		t.Errorf("want one write and to be continued, got %+v, %v", c.reply, c.bound())
	}
	c.release()
	if who := <-c.drained; who != "drain" {
		t.Errorf("want the drain to have the Lease, it is %q's", who)
	}
	if who := c.holder(waitingFor(c.lb)); who != "" {
		t.Errorf("nobody waits any more, and %q says so", who)
	}
}

func TestNobodyElseIsGivenWayTo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		sync   event.Sync
		waits  bool
	}{
		"Nobody": {reason: "without a drain that waits a pass goes on", sync: event.Sync{All: true}},
		"Drain":  {reason: "a drain doesn't give way to another", sync: event.Sync{Pods: []event.Pod{{Draining: "app=c-2"}}}, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContended(t, tc.sync)
			if tc.waits {
				c.wait()
			}
			c.run(t.Context(), c.steps())
			if c.reply.Continue || len(c.bound()) != 4 {
				t.Errorf("%s: got %+v, %v", tc.reason, c.reply, c.bound())
			}
			c.release()
			if tc.waits {
				<-c.drained
			}
		})
	}
}

// The search for what a CLB refused takes many calls: it gives way too, with what it has
// got done.
func TestSearchForARefusalGivesWay(t *testing.T) {
	t.Parallel()
	c := newContended(t, event.Sync{All: true})
	all := c.targets(c.a, 0, 64, 10)
	c.server.FailTargets(netip.MustParseAddr(all[0].IP))
	c.wait()
	c.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: all}})
	if !c.reply.Continue || len(c.parked) != 0 || c.session.Calls()["BatchRegisterTargets"] != 1 {
		t.Errorf("want one call, nothing parked and to be continued, got %v, %v, %+v", c.session.Calls(), c.refused(), c.reply)
	}
	c.release()
	<-c.drained
}
