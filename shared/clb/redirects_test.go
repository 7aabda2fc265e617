package clb

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// redirects are those that a listener's rules have, by location.
func (r *rig) redirects(lb *model.LoadBalancer, listener string) map[string]model.Redirect {
	r.t.Helper()
	out := map[string]model.Redirect{}
	for id, rule := range r.rules(lb, listener) {
		if rule.Redirect != nil {
			out[id] = *rule.Redirect
		}
	}
	return out
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.certificates("ca-1", "cert-1")
	lb, plain := r.layer7(model.HTTP, 80)
	other, secure := r.listener(lb.ID, model.HTTP, 8080), r.listener(lb.ID, model.HTTPS, 443)
	certified := func(w *model.WantedRule) { w.Certificate = &model.Certificate{ID: "cert-1"} }
	from := r.make7(lb, plain, wantedRule("a.example.com", "/"), wantedRule("", "/old"), wantedRule("a.example.com", "/third"))
	also := r.make7(lb, other, wantedRule("a.example.com", "/"))
	to := r.make7(lb, secure, wantedRule("a.example.com", "/", certified), wantedRule("b.example.com", "/new", certified))
	place := func(listener, location string) model.Place {
		return model.Place{Listener: listener, Location: location}
	}
	rs := []model.Redirection{
		{From: place(plain, from[0]), To: place(secure, to[0]), Code: 301},
		{From: place(other, also[0]), To: place(secure, to[1]), Code: 307},
		{From: place(plain, from[1]), To: place(secure, to[1]), Code: 302},
	}
	if err := r.Redirect(ctx, lb.ID, rs); err != nil {
		t.Fatal(err)
	}
	want := map[string]model.Redirect{from[0]: {To: rs[0].To, Code: 301}, from[1]: {To: rs[2].To, Code: 302}}
	if diff := cmp.Diff(want, r.redirects(lb, plain)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]model.Redirect{also[0]: {To: rs[1].To, Code: 307}}, r.redirects(lb, other)); diff != "" {
		t.Errorf("from the other listener: -want +got:\n%s", diff)
	}
	if got := r.redirects(lb, secure); len(got) != 0 {
		t.Errorf("targets don't redirect, got %v", got)
	}
	if n := r.Calls()["ManualRewrite"]; n != 2 {
		t.Errorf("one call for each pair of listeners, got %d", n)
	}
	// What follows the path goes along only where the path is the same.
	takes := map[string]bool{}
	found, err := r.describeListeners(ctx, lb.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range found {
		for _, rule := range l.Rules {
			if value(rule.RewriteTarget.TargetLocationId) != "" {
				takes[*rule.LocationId] = value(rule.RewriteTarget.TakeUrl)
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{from[0]: true, from[1]: false, also[0]: false}, takes); diff != "" {
		t.Errorf("TakeUrl: -want +got:\n%s", diff)
	}

	third := model.Redirection{From: place(plain, from[2]), To: place(secure, to[0]), Code: 301}
	refused := map[string]struct {
		reason string
		r      model.Redirection
		want   fault.Kind
		code   string
	}{
		"Twice": {"a redirect must end before another begins", model.Redirection{From: rs[0].From, To: rs[1].To, Code: 301}, fault.Conflict, codeRewriteExists},
		"Chain": {"a target can't redirect further", model.Redirection{From: rs[0].To, To: third.From, Code: 301}, fault.Conflict, codeRewriteExists},
		"Gone":  {"a rule that isn't there can't", model.Redirection{From: place(plain, "loc-00000000"), To: rs[0].To, Code: 301}, fault.NotFound, CodeLocationGone},
		"Code":  {"others aren't redirects that CLB has", model.Redirection{From: third.From, To: third.To, Code: 308}, fault.Invalid, ""},
	}
	for name, tc := range refused {
		t.Run(name, func(t *testing.T) {
			if err := r.Redirect(ctx, lb.ID, []model.Redirection{tc.r}); !fault.Is(err, tc.want) || Code(err) != tc.code {
				t.Errorf("%s: want %s with code %q, got %v", tc.reason, tc.want, tc.code, err)
			}
		})
	}

	if err := r.Redirect(ctx, lb.ID, []model.Redirection{third, rs[0]}); !fault.Is(err, fault.Conflict) || len(r.redirects(lb, plain)) != 2 {
		t.Errorf("of one call all are made or none, got %v and %v", err, r.redirects(lb, plain))
	}

	gone := model.Redirection{From: place(plain, "loc-00000000"), To: rs[0].To}
	if err := r.Straighten(ctx, lb.ID, append([]model.Redirection{gone}, rs[1:]...)); err != nil {
		t.Fatalf("what has ended already is no error: %v", err)
	}
	for range 2 {
		if err := r.Straighten(ctx, lb.ID, rs[1:2]); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	left := r.redirects(lb, plain)
	if _, stays := left[from[0]]; !stays || len(r.redirects(lb, other)) != 0 {
		t.Errorf("only those named end, left are %v", left)
	}
	if _, stays := left[from[1]]; stays {
		t.Errorf("all those named end, left are %v", left)
	}
	// Without a code it is the API's choice, and nothing need be read.
	reads := r.Calls()["DescribeListeners"]
	if err := r.Redirect(ctx, lb.ID, []model.Redirection{{From: rs[1].From, To: rs[1].To}}); err != nil {
		t.Fatal(err)
	}
	if r.Calls()["DescribeListeners"] != reads || r.redirects(lb, other)[also[0]].To != rs[1].To {
		t.Errorf("want it redirected without a read, got %v", r.redirects(lb, other))
	}
	counts := r.server.CallCounts()
	if r.Redirect(ctx, lb.ID, nil) != nil || r.Straighten(ctx, lb.ID, nil) != nil || !cmp.Equal(counts, r.server.CallCounts()) {
		t.Error("none is no call")
	}
	r.spoil("DeleteRewrite", 1, refuse("FailedOperation"))
	if err := r.Straighten(ctx, lb.ID, rs[:1]); !fault.Is(err, fault.Transient) {
		t.Errorf("another refusal is an error, got %v", err)
	}
}
