package desired

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// allowedName is what CreateListener takes (CLB API, ListenerNames).
var allowedName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func TestListenerNameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Ownership{
			Cluster:  rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?`).Draw(t, "cluster"),
			UID:      rapid.StringMatching(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).Draw(t, "uid"),
			Protocol: rapid.SampledFrom([]model.Protocol{model.TCP, model.UDP, model.HTTP, model.HTTPS}).Draw(t, "protocol"),
			Port:     rapid.IntRange(1, 65535).Draw(t, "port"),
		}
		name := ListenerName(want.Cluster, want.UID, want.Protocol, want.Port)
		if !allowedName.MatchString(name) {
			t.Fatalf("%q, %d characters, is no name of a listener", name, len(name))
		}
		got, ok := OwnerOf(name)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Fatalf("OwnerOf(%q) = %t: -want +got:\n%s", name, ok, diff)
		}
	})
}

func FuzzOwnerOf(f *testing.F) {
	for _, seed := range []string{"", "TKE-DEDICATED-LISTENER", "clb-direct_cls-1_" + uidA + "_TCP_80", "clb-direct_cls-1_u_TCP_+80", "clb-direct_____", "clb-direct_a_b_TCP_080"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		o, ok := OwnerOf(name)
		if ok && ListenerName(o.Cluster, o.UID, o.Protocol, o.Port) != name {
			t.Errorf("%q was taken for ours, %+v, whose name is another", name, o)
		}
	})
}

func TestServiceWants(t *testing.T) {
	policy := Policy{Cluster: "cls-1"}
	thirty := 30
	cfg := &Config{Listeners: map[ListenerKey]model.Settings{{model.TCP, 80}: {SessionExpire: &thirty}}}
	port := func(protocol model.Protocol, n int) model.ServicePort {
		return model.ServicePort{Protocol: protocol, Port: n, TargetPort: 8080}
	}
	type place struct {
		Listener, Key string
		Port          model.ServicePort
		Broken        bool
	}
	name := func(sp model.ServicePort) string { return ListenerName("cls-1", uidA, sp.Protocol, sp.Port) }
	cases := map[string]struct {
		reason string
		ports  []model.ServicePort
		cfg    *Config
		// want are the ports that get a listener, settings those of the first.
		want     []model.ServicePort
		settings model.Settings
		fields   []string
	}{
		"None":       {reason: "a Service without ports wants nothing"},
		"OneEach":    {reason: "one listener per port, TCP and UDP of one number beside each other", ports: []model.ServicePort{port(model.TCP, 80), port(model.UDP, 80)}, want: []model.ServicePort{port(model.TCP, 80), port(model.UDP, 80)}},
		"Configured": {reason: "settings go to the listener they are for", cfg: cfg, ports: []model.ServicePort{port(model.TCP, 80), port(model.UDP, 80)}, want: []model.ServicePort{port(model.TCP, 80), port(model.UDP, 80)}, settings: model.Settings{SessionExpire: &thirty}},
		"SCTP":       {reason: "a port no listener can be made for doesn't keep the others from theirs", ports: []model.ServicePort{port("SCTP", 80), port(model.TCP, 81)}, want: []model.ServicePort{port(model.TCP, 81)}, fields: []string{"spec.ports[0].protocol"}},
		"Impossible": {reason: "each impossible port is named", ports: []model.ServicePort{port(model.TCP, 0), port(model.TCP, 65536)}, fields: []string{"spec.ports[0].port", "spec.ports[1].port"}},
	}
	for reason, tc := range cases {
		t.Run(reason, func(t *testing.T) {
			svc := service(nil, func(s *model.Service) { s.Ports = tc.ports })
			got := WantsOf(ServiceObject(svc), Sources{Config: tc.cfg}, policy)
			var want []model.WantedListener
			for i, sp := range tc.want {
				l := model.WantedListener{Name: name(sp), Protocol: sp.Protocol, Port: sp.Port, Owner: &svc.Front, Key: PortKey(sp.Protocol, sp.Port)}
				if i == 0 {
					l.Settings = tc.settings
				}
				want = append(want, l)
			}
			if diff := cmp.Diff(want, got.Listeners); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.fields, fieldsOf(got.Problems)); diff != "" {
				t.Errorf("%s: fields -want +got:\n%s", tc.reason, diff)
			}
			var places, have []place
			for _, sp := range tc.ports {
				places = append(places, place{name(sp), PortKey(sp.Protocol, sp.Port), sp, !slices.Contains(tc.want, sp)})
			}
			for _, b := range got.Backings {
				if b.Service != svc || b.Front != &svc.Front || b.Name == "" {
					t.Errorf("%s: a Service's places are its own: %+v", tc.reason, b)
				}
				have = append(have, place{b.Listener, b.Key, b.Port, b.Broken != ""})
			}
			if diff := cmp.Diff(places, have); diff != "" {
				t.Errorf("%s: every port is a place, broken or not: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	svc := service(nil)
	if diff := cmp.Diff([]string{"nginx"}, ServicesOf(ServiceObject(svc))); diff != "" {
		t.Errorf("a Service is its own: -want +got:\n%s", diff)
	}
	if got := SecretsOf(ServiceObject(svc)); got != nil {
		t.Errorf("a Service has no secrets, got %v", got)
	}
}

func fieldsOf(problems []Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Field)
	}
	return out
}

func TestUsable(t *testing.T) {
	policy := Policy{Cluster: "cls-1"}
	cases := map[string]struct {
		reason      string
		tags        map[string]string
		annotations map[string]string
		want        string
	}{
		"Plain":           {reason: "a CLB with a user's tags", tags: map[string]string{"team": "web"}},
		"Ours":            {reason: "made for this very Service", tags: map[string]string{TagCluster: "cls-1", TagOwner: uidA}},
		"TKE":             {reason: "TKE made it", tags: map[string]string{"tke-createdBy-flag": "yes"}, want: "E4012"},
		"TKECluster":      {reason: "TKE uses it", tags: map[string]string{"tke-clusterId": "cls-1"}, want: "E4012"},
		"TKEService":      {reason: "TKE uses it for a Service", tags: map[string]string{"tke-lb-serviceuuid": uidA}, want: "E4012"},
		"TKEIngress":      {reason: "TKE uses it for an Ingress", tags: map[string]string{"tke-lb-ingress-uuid": uidA}, want: "E4012"},
		"OtherService":    {reason: "it goes when that Service goes", tags: map[string]string{TagCluster: "cls-1", TagOwner: uidB}, want: "E4012"},
		"OtherCluster":    {reason: "another cluster's", tags: map[string]string{TagCluster: "cls-2"}, want: "E4013"},
		"Takeover":        {reason: "told explicitly", tags: map[string]string{"tke-clusterId": "cls-1"}, annotations: map[string]string{Takeover: "true"}},
		"TakeoverUnclear": {reason: "told unclearly is not told", tags: map[string]string{"tke-clusterId": "cls-1"}, annotations: map[string]string{Takeover: "sure"}, want: "E4012"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Usable(&model.LoadBalancer{ID: "lb-1", Tags: tc.tags}, &service(tc.annotations).Front, policy)
			code := ""
			if got != nil {
				code = got.Code
			}
			if code != tc.want {
				t.Errorf("%s: want %q, got %v", tc.reason, tc.want, got)
			}
		})
	}
}

func TestCreated(t *testing.T) {
	policy := Policy{Cluster: "cls-1"}
	svc := &service(nil).Front
	if !Created(&model.LoadBalancer{Tags: OwnTags(svc, policy)}, svc, policy) {
		t.Error("a CLB with our tags was made by us")
	}
	for name, tags := range map[string]map[string]string{
		"NoTags":       nil,
		"OtherOwner":   {TagCluster: "cls-1", TagOwner: uidB},
		"OtherCluster": {TagCluster: "cls-2", TagOwner: uidA},
		"OwnerAlone":   {TagOwner: uidA},
	} {
		if Created(&model.LoadBalancer{Tags: tags}, svc, policy) {
			t.Errorf("%s: a CLB with tags %v was not made for it by us", name, tags)
		}
	}
}

func TestDirect(t *testing.T) {
	const (
		networks = "tke.cloud.tencent.com/networks"
		status   = "tke.cloud.tencent.com/networks-status"
		podType  = "tke.cloud.tencent.com/pod-type"
	)
	note := func(kv ...string) model.Pod {
		p := model.Pod{Annotations: map[string]string{}}
		for i := 0; i < len(kv); i += 2 {
			p.Annotations[kv[i]] = kv[i+1]
		}
		return p
	}
	cases := map[string]struct {
		reason string
		pod    model.Pod
		in     Network
		want   bool
	}{
		"Nothing":            {reason: "in a GlobalRouter cluster a pod must ask for an ENI", in: GlobalRouter},
		"NothingVPCCNI":      {reason: "in a VPC-CNI cluster every pod has one", in: VPCCNI, want: true},
		"RouteENI":           {reason: "shared ENI", pod: note(networks, "tke-route-eni"), in: GlobalRouter, want: true},
		"DirectENI":          {reason: "exclusive ENI", pod: note(networks, "tke-direct-eni"), in: GlobalRouter, want: true},
		"Bridge":             {reason: "GlobalRouter address by request", pod: note(networks, "tke-bridge"), in: VPCCNI},
		"BridgeFirst":        {reason: "the first is the default, the ENI is a second interface", pod: note(networks, "tke-bridge,tke-route-eni@net0"), in: GlobalRouter},
		"ENIFirst":           {reason: "the default is the ENI", pod: note(networks, "tke-route-eni@eth0, tke-bridge"), in: GlobalRouter, want: true},
		"Resource":           {reason: "what the admission webhook of TKE turns the request into", pod: model.Pod{DirectResource: true}, in: GlobalRouter, want: true},
		"ResourceBridge":     {reason: "an address on an ENI beside a default network that isn't one", pod: model.Pod{DirectResource: true, Annotations: map[string]string{networks: "tke-bridge"}}, in: GlobalRouter},
		"StatusENI":          {reason: "what the CNI reported", pod: note(status, `[{"name":"tke-route-eni","interface":"eth0","ips":["10.0.0.1"],"default":true}]`), in: GlobalRouter, want: true},
		"StatusBeatsRequest": {reason: "what it got, not what it asked for", pod: note(status, `[{"name":"tke-bridge","default":true}]`, networks, "tke-route-eni"), in: GlobalRouter},
		"StatusDefaultOnly":  {reason: "of several the default counts", pod: note(status, `[{"name":"tke-route-eni"},{"name":"tke-bridge","default":true}]`), in: VPCCNI},
		"StatusSingle":       {reason: "a single one is the default", pod: note(status, `[{"name":"tke-direct-eni"}]`), in: GlobalRouter, want: true},
		"StatusBroken":       {reason: "what can't be read says nothing", pod: note(status, `[{`, networks, "tke-route-eni"), in: GlobalRouter, want: true},
		"SuperNode":          {reason: "super nodes give every pod an ENI address", pod: model.Pod{NodeName: "eklet-subnet-abc-1"}, in: GlobalRouter, want: true},
		"SuperNodeType":      {reason: "by annotation", pod: note(podType, "eklet"), in: GlobalRouter, want: true},
		"HostNetwork":        {reason: "never by an address of its own", pod: model.Pod{HostNetwork: true, NodeName: "eklet-subnet-abc-1"}, in: VPCCNI},
		"Cilium":             {reason: "an overlay isn't reachable, whatever the cluster was made with", pod: note(networks, "cilium-overlay"), in: VPCCNI},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, why := Direct(&tc.pod, Policy{Network: tc.in})
			if got != tc.want {
				t.Errorf("%s: want %t, got %t (%s)", tc.reason, tc.want, got, why)
			}
			if got == (why != "") {
				t.Errorf("%s: direct %t with reason %q: a refusal has one, a permission none", tc.reason, got, why)
			}
		})
	}
}

func FuzzNetworksStatus(f *testing.F) {
	for _, seed := range []string{"", "null", "{}", "[]", "[{}]", `[{"name":"tke-route-eni","default":true}]`, `[{"name":1}]`} {
		f.Add(seed, "tke-bridge")
	}
	f.Fuzz(func(t *testing.T, status, networks string) {
		p := &model.Pod{Annotations: map[string]string{"tke.cloud.tencent.com/networks-status": status, "tke.cloud.tencent.com/networks": networks}}
		ok, why := Direct(p, Policy{Network: GlobalRouter})
		if ok == (why != "") {
			t.Errorf("direct %t with reason %q", ok, why)
		}
		if ok && !strings.Contains(networks, "-eni") && !mentionsENI(status) {
			t.Errorf("neither %q nor %q speaks of an ENI", status, networks)
		}
	})
}

// mentionsENI looks through any JSON for a word about an ENI.
func mentionsENI(raw string) bool {
	var v any
	if json.Unmarshal([]byte(raw), &v) != nil {
		return false
	}
	plain, err := json.Marshal(v)
	return err == nil && strings.Contains(string(plain), "-eni")
}
