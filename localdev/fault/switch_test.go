package fault

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// TestSkew: calls signed by a clock that is too far off are refused, either way.
func TestSkew(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		reason string
		skew   time.Duration
		want   string
	}{
		{"within five minutes", 4 * time.Minute, ""},
		{"behind", 6 * time.Minute, "AuthFailure.SignatureExpire"},
		{"ahead", -6 * time.Minute, "AuthFailure.SignatureExpire"},
		{"mended", 0, ""},
	} {
		if _, err := r.remote.Switch(t.Context(), map[string]any{"skewMillis": tc.skew.Milliseconds()}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.create(); code(err) != tc.want {
			t.Errorf("%s: want %q, got %v", tc.reason, tc.want, err)
		}
	}
}

// TestExpireCredentials: temporary ones end, permanent ones don't.
func TestExpireCredentials(t *testing.T) {
	r := newRig(t)
	r.store.Add(tc3.Credential{SecretID: "tmp", SecretKey: "key", Token: "token"})
	temporary := r.as("tmp", "key", "token")
	if _, err := temporary.DescribeLoadBalancers(nil); err != nil {
		t.Fatal(err)
	}
	if err := r.remote.Do(t.Context(), Act{Do: ExpireCredentials}); err != nil {
		t.Fatal(err)
	}
	if _, err := temporary.DescribeLoadBalancers(nil); code(err) != "AuthFailure.TokenFailure" {
		t.Errorf("the temporary one: got %v", err)
	}
	if _, err := r.create(); err != nil {
		t.Errorf("the permanent one: got %v", err)
	}
}

// TestSwitches: what isn't named stays as it is, and Close switches all of it off.
func TestSwitches(t *testing.T) {
	r := newRig(t)
	set := func(to map[string]any) {
		t.Helper()
		if _, err := r.remote.Switch(t.Context(), to); err != nil {
			t.Fatal(err)
		}
	}
	set(map[string]any{"freezeHealth": true, "skewMillis": 5})
	set(map[string]any{"hideHealth": []string{"10.0.0.1"}, "skewMillis": 0})
	got, err := r.remote.Switches(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Switches{FreezeHealth: true, HideHealth: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.faults.Close()
	if diff := cmp.Diff(Switches{}, r.faults.Switches(), same); diff != "" {
		t.Errorf("closed: -want +got:\n%s", diff)
	}
}

func TestRefusedSwitchesAndActs(t *testing.T) {
	r := newRig(t)
	switched := func(to map[string]any) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := r.remote.Switch(ctx, to)
			return err
		}
	}
	done := func(a Act) func(context.Context) error {
		return func(ctx context.Context) error { return r.remote.Do(ctx, a) }
	}
	cases := map[string]struct {
		reason string
		try    func(context.Context) error
		want   string
	}{
		"Unknown":  {"a switch there isn't", switched(map[string]any{"colour": 1}), "colour"},
		"Address":  {"no address", switched(map[string]any{"hideHealth": []string{"x"}}), "reading the switches"},
		"NoLink":   {"nothing to silence", switched(map[string]any{"silent": true}), "silent: "},
		"Act":      {"an act there isn't", done(Act{Do: "dance"}), "shutdown-node"},
		"NoNodes":  {"no nodes", done(Act{Do: VanishNode, Node: "n"}), "no emulated nodes"},
		"NoPods":   {"no nodes, so no pods", done(Act{Do: EvictPod, Pod: "a/b"}), "no emulated nodes"},
		"Cluster":  {"no cluster", done(Act{Do: CompactEtcd}), "no cluster"},
		"Function": {"no functions", done(Act{Do: KillFunction, Function: "backends"}), "no functions"},
		"Grace":    {"there is no time before", done(Act{Do: EvictPod, GraceSeconds: -1}), "graceSeconds: "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.try(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want an error about %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
