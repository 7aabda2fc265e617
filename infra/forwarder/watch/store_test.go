package watch

import (
	"context"
	"fmt"
	"log/slog"
	gc "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// fill is a store of pods over an index with one Service, and what it has offered.
type fill struct {
	*store[model.Pod]
	offered []string
	// server are the pods that a list of the source would have.
	server []corev1.Pod
	pages  int
}

func newFill(t *testing.T) *fill {
	t.Helper()
	x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
	x.SetService(model.Service{
		Front: model.Front{Kind: model.KindService, Namespace: "default", Name: "web", UID: "s", ResourceVersion: "1",
			Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: "lb-1"}},
		Type: "LoadBalancer", Selector: map[string]string{"app": "web"},
	})
	f := &fill{}
	w := &Watch{o: Options{Index: x, Log: slog.New(slog.DiscardHandler), Offer: f.offer}}
	f.store = w.podStore()
	f.source.list = func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
		f.pages++
		l := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "100"}}
		from := 0
		_, _ = fmt.Sscan(o.Continue, &from)
		to := min(from+int(o.Limit), len(f.server))
		l.Items = f.server[from:to]
		if to < len(f.server) {
			l.Continue = fmt.Sprint(to)
		}
		return l, nil
	}
	return f
}

// offer notes what backends is to look at: pods, with their versions.
func (f *fill) offer(marks []work.Mark) {
	for _, m := range marks {
		for _, p := range m.Look.Pods() {
			f.offered = append(f.offered, p.Name+"@"+p.ResourceVersion)
		}
	}
}

func (f *fill) take() []string {
	out := f.offered
	f.offered = nil
	slices.Sort(out)
	return out
}

func pod(name, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), ResourceVersion: version, Labels: map[string]string{"app": "web"}},
		Status:     corev1.PodStatus{PodIP: "10.0.0.1", Phase: corev1.PodRunning},
	}
}

func of(pods ...*corev1.Pod) []any {
	var out []any
	for _, p := range pods {
		out = append(out, p)
	}
	return out
}

// TestRelistMakesTheDifference: what a list tells anew is offered, what it tells as it was
// known is not, and what it doesn't have any more is gone as of the list.
func TestRelistMakesTheDifference(t *testing.T) {
	f := newFill(t)
	if f.synced.Load() {
		t.Error("synced before there was a list")
	}
	if err := f.Replace(of(pod("a", "5"), pod("b", "6"), pod("c", "7")), "10"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@5", "b@6", "c@7"}, f.take()); diff != "" || !f.synced.Load() {
		t.Errorf("first list: -want +got\n%s", diff)
	}
	changed := pod("b", "21")
	changed.Status.Phase = corev1.PodFailed
	unread := pod("c", "22") // changed, but in nothing that matters
	unread.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	again := of(changed, unread, pod("d", "23"))
	if err := f.Replace(again, "30"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@30", "b@21", "d@23"}, f.take()); diff != "" {
		t.Errorf("second list: -want +got\n%s", diff)
	}
	if err := f.Replace(again, "31"); err != nil {
		t.Fatal(err)
	}
	if got := f.take(); len(got) > 0 {
		t.Errorf("the same list again offers %v", got)
	}
}

// A namesake with another UID is another pod, even in a list.
func TestRelistSeesNamesakes(t *testing.T) {
	f := newFill(t)
	if err := f.Replace(of(pod("a", "5")), "10"); err != nil {
		t.Fatal(err)
	}
	f.take()
	other := pod("a", "5") // versions of different objects say nothing about each other
	other.UID = "another"
	if err := f.Replace(of(other), "20"); err != nil {
		t.Fatal(err)
	}
	if got := f.take(); len(got) != 2 {
		t.Errorf("offered %v, want the one that went and the one that came", got)
	}
}

// TestEmptyListIsNotBelieved, unless it is confirmed.
func TestEmptyListIsNotBelieved(t *testing.T) {
	f := newFill(t)
	if err := f.Replace(nil, "1"); err != nil || f.pages > 0 {
		t.Errorf("an empty cluster: %v after %d lists", err, f.pages)
	}
	if err := f.Replace(of(pod("a", "5")), "10"); err != nil {
		t.Fatal(err)
	}
	f.take()
	f.server = []corev1.Pod{*pod("a", "5")}
	if err := f.Replace(nil, "20"); err == nil || len(f.take()) > 0 {
		t.Errorf("an empty list was believed: %v", err)
	}
	f.server = nil
	if err := f.Replace(nil, "30"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@30"}, f.take()); diff != "" {
		t.Errorf("confirmed: -want +got\n%s", diff)
	}
}

// Where the API server doesn't stream, pages are read one by one.
func TestListsByPages(t *testing.T) {
	f := newFill(t)
	for i := range 2*pageSize + 1 {
		f.server = append(f.server, *pod(fmt.Sprintf("p%04d", i), "5"))
	}
	got, err := f.store.pages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	items := extract(t, got)
	if f.pages != 3 || len(items) != len(f.server) {
		t.Errorf("%d items in %d pages", len(items), f.pages)
	}
	if err := f.Replace(items, "100"); err != nil {
		t.Fatal(err)
	}
	if n := len(f.take()); n != len(f.server) {
		t.Errorf("%d of %d were offered", n, len(f.server))
	}
}

func TestStoreRefusesStrangers(t *testing.T) {
	f := newFill(t)
	for _, o := range []any{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, "text", nil} {
		if err := f.Add(o); err == nil || !strings.Contains(err.Error(), "not a pod") {
			t.Errorf("%T: %v", o, err)
		}
	}
}

// What pods have in common they share, and nothing of it is lost.
func TestInternedPodsAreTheSame(t *testing.T) {
	in := newInterner()
	p := pod("a", "1")
	p.Labels = map[string]string{"app": "web", "pod-template-hash": "x"}
	q := p.DeepCopy()
	q.Name = "b"
	a, b := in.pod(kube.PodFrom(p.DeepCopy())), in.pod(kube.PodFrom(q))
	if diff := cmp.Diff(kube.PodFrom(p), a); diff != "" {
		t.Errorf("-read +interned\n%s", diff)
	}
	before := fmt.Sprintf("%p", a.Labels)
	if before != fmt.Sprintf("%p", b.Labels) {
		t.Error("equal labels are held twice")
	}
	for i := range 3 * maxSets {
		in.set(map[string]string{"n": fmt.Sprint(i)})
	}
	if n := len(in.sets) + len(in.older); n > 2*maxSets {
		t.Errorf("%d sets are remembered", n)
	}
}

func extract(t *testing.T, list runtime.Object) []any {
	t.Helper()
	items, err := meta.ExtractList(list)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, i := range items {
		out = append(out, i)
	}
	return out
}

// TestMemoryIsBoundedByPods, not by changes: every change here brings labels that were
// never seen before, as the hash of a new ReplicaSet does.
func TestMemoryIsBoundedByPods(t *testing.T) {
	f := newFill(t)
	f.store.offer = func([]work.Mark) {}
	const pods = 500
	n := 0
	change := func(times int) float64 {
		for range times {
			n++
			p := pod(fmt.Sprintf("p%03d", n%pods), fmt.Sprint(n))
			p.Labels["pod-template-hash"] = fmt.Sprintf("%032d", n)
			p.Annotations = map[string]string{model.DrainToken: fmt.Sprint(n)}
			if err := f.Update(p); err != nil {
				t.Fatal(err)
			}
		}
		gc.GC()
		gc.GC() // what is unique is let go of by the one, and swept by the other
		var m gc.MemStats
		gc.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	first := change(10 * maxSets)
	last := change(40 * maxSets)
	gc.KeepAlive(f) // else it is collected before it is measured
	if last > 1.1*first {
		t.Errorf("the heap grew from %.0f to %.0f bytes over %d changes of %d pods", first, last, n, pods)
	}
}
