package desired

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestSelectorsOf(t *testing.T) {
	of := func(pairs ...string) *model.Service {
		s := &model.Service{Selector: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			s.Selector[pairs[i]] = pairs[i+1]
		}
		return s
	}
	ingress := &model.Ingress{}
	for _, name := range []string{"web", "twin", "api", "gone"} {
		ingress.Rules = append(ingress.Rules, model.IngressRule{Backend: model.IngressBackend{Service: name}})
	}
	src := Sources{Services: map[string]*model.Service{"web": of("app", "web"), "twin": of("app", "web"), "api": of("tier", "back", "app", "api"), "else": of("app", "else")}}
	cases := map[string]struct {
		reason string
		o      Object
		want   []string
	}{
		"Service": {"its own, in order", ServiceObject(of("tier", "back", "app", "web")), []string{"app=web,tier=back"}},
		"None":    {"no selector selects nothing", ServiceObject(of()), nil},
		"Ingress": {"of the Services behind it, each once; what isn't there has none", IngressObject(ingress), []string{"app=api,tier=back", "app=web"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, SelectorsOf(tc.o, src)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
