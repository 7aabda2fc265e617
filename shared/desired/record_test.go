package desired

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestRecord(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   any
	}{
		"None":   {reason: "an empty record removes the annotation", args: []string{}},
		"One":    {reason: "a list", args: []string{"HTTP/80 /"}, want: `["HTTP/80 /"]`},
		"Sorted": {reason: "sorted and each once, so that nothing is written anew", args: []string{"HTTPS/443 a/x", "HTTP/80 /", "HTTPS/443 a/x"}, want: `["HTTP/80 /","HTTPS/443 a/x"]`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := RecordValue(tc.args)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			value, _ := got.(string)
			want := map[string]bool{}
			for _, k := range tc.args {
				want[k] = true
			}
			if read := RecordOf(&model.Front{Annotations: map[string]string{Rules: value}}); len(want)+len(read) > 0 && !cmp.Equal(want, read) {
				t.Errorf("%s: want %v read again, got %v", tc.reason, want, read)
			}
		})
	}
	for _, raw := range []string{"", "{", `"HTTP/80 /"`, `[1]`} {
		if got := RecordOf(&model.Front{Annotations: map[string]string{Rules: raw}}); len(got) != 0 {
			t.Errorf("%q can't be read and is nothing, got %v", raw, got)
		}
	}
}

func TestHolds(t *testing.T) {
	own := ListenerName("cls-1", uidA, model.HTTP, 80)
	shared := ListenerName("cls-1", "lb-1234abcd", model.HTTP, 80)
	f := &model.Front{Kind: model.KindIngress, UID: uidA, Annotations: map[string]string{Rules: `["HTTP/80 a.example.com/x"]`}}
	cases := map[string]struct {
		reason   string
		listener string
		path     string
		// key is what SpotKey says.
		key  string
		want bool
	}{
		"Own":            {reason: "everything on a listener with its UID is its own, recorded or not", listener: own, path: "/y", key: "HTTP/80 a.example.com/y", want: true},
		"Recorded":       {reason: "on a shared listener what is on record", listener: shared, path: "/x", key: "HTTP/80 a.example.com/x", want: true},
		"Unrecorded":     {reason: "and nothing else", listener: shared, path: "/y", key: "HTTP/80 a.example.com/y"},
		"RecordedExact":  {reason: "an exact path is another", listener: shared, path: "= /x", key: "HTTP/80 a.example.com= /x"},
		"OtherListener":  {reason: "another Ingress's own", listener: ListenerName("cls-1", uidB, model.HTTP, 80), path: "/y", key: "HTTP/80 a.example.com/y"},
		"OtherPort":      {reason: "another port is another rule", listener: ListenerName("cls-1", "lb-1234abcd", model.HTTPS, 443), path: "/x", key: "HTTPS/443 a.example.com/x"},
		"ForeignMarked":  {reason: "a listener that isn't ours is never held, whatever the record says", listener: "TKE-DEDICATED-LISTENER", path: "/x"},
		"ForeignUnnamed": {reason: "nor one without a name", path: "/x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			spot := model.Spot{Listener: tc.listener, Domain: hostA, Path: tc.path}
			key, ours := SpotKey(spot)
			if key != tc.key || ours != (tc.key != "") {
				t.Errorf("%s: want key %q, got %q, ours %t", tc.reason, tc.key, key, ours)
			}
			if got := Holds(f, spot, key); got != tc.want {
				t.Errorf("%s: want held %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
	if key, ours := SpotKey(model.Spot{Listener: ListenerName("cls-1", uidA, model.UDP, 53)}); key != "UDP/53" || !ours {
		t.Errorf("a layer-4 listener goes by protocol and port, got %q, %t", key, ours)
	}
}

func TestRefusedCode(t *testing.T) {
	refused := map[string]string{"HTTP/80": "E1", "HTTPS/443 a.example.com/": "E2", "TCP/80": "E3"}
	for _, tc := range []struct{ reason, key, want string }{
		{"by itself", "HTTPS/443 a.example.com/", "E2"},
		{"with its listener", "HTTP/80 a.example.com/", "E1"},
		{"a listener by itself", "TCP/80", "E3"},
		{"another rule of a listener that stands", "HTTPS/443 b.example.com/", ""},
	} {
		if got := RefusedCode(refused, tc.key); got != tc.want {
			t.Errorf("%s: %s: want %q, got %q", tc.reason, tc.key, tc.want, got)
		}
	}
	if got := RefusedCode(map[string]string{RefusedAll: "E4"}, "TCP/80"); got != "E4" {
		t.Errorf("with everything: want E4, got %q", got)
	}
}
