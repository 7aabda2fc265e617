package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

func TestParseObject(t *testing.T) {
	cases := map[string]struct {
		reason, object string
		want           event.Ref
	}{
		"Service":   {"as the help has it", "service/default/nginx", event.Ref{Kind: model.KindService, Namespace: "default", Name: "nginx"}},
		"Ingress":   {"the other kind", "ingress/shop/web", event.Ref{Kind: model.KindIngress, Namespace: "shop", Name: "web"}},
		"Pod":       {"one pod", "pod/default/nginx-0", event.Ref{Kind: model.KindPod, Namespace: "default", Name: "nginx-0"}},
		"Short":     {"kubectl's short names", "Svc/default/nginx", event.Ref{Kind: model.KindService, Namespace: "default", Name: "nginx"}},
		"Nothing":   {"OBJ was forgotten", "", event.Ref{}},
		"TwoParts":  {"no namespace is guessed", "service/nginx", event.Ref{}},
		"FourParts": {"nothing is dropped", "service/default/nginx/80", event.Ref{}},
		"OtherKind": {"there is nothing to say of it", "deployment/default/nginx", event.Ref{}},
		"NoName":    {"it is no list either", "pod/default/", event.Ref{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseObject(tc.object)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if refused := tc.want == (event.Ref{}); refused && (err == nil || !strings.Contains(err.Error(), "OBJ=service/")) || !refused && err != nil {
				t.Errorf("%s: got error %v", tc.reason, err)
			}
		})
	}
}

func TestSayExplanation(t *testing.T) {
	e := &event.Explanation{Kind: model.KindService, Namespace: "default", Name: "nginx", Summary: "its one pod is ready"}
	var text, raw strings.Builder
	if err := sayExplanation(&text, event.Reply{Explanation: e}, false); err != nil || text.String() != e.Text() {
		t.Errorf("got %q, %v", text.String(), err)
	}
	if err := sayExplanation(&raw, event.Reply{Explanation: e}, true); err != nil {
		t.Error(err)
	}
	var got event.Explanation
	if err := json.Unmarshal([]byte(raw.String()), &got); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(*e, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	failure := event.Reply{Failure: &event.Failure{Kind: fault.Throttled, Message: "too many"}}
	for name, r := range map[string]event.Reply{"Failure": failure, "Empty": {}} {
		if err := sayExplanation(&text, r, false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestExplainNeedsAStack(t *testing.T) {
	err := explain(t.Context(), t.TempDir(), "service/default/nginx", false, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "make up") {
		t.Errorf("want an error that names `make up`, got %v", err)
	}
}
