package desired

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	uidA = "aaaaaaaa-0000-4000-8000-000000000001"
	uidB = "bbbbbbbb-0000-4000-8000-000000000002"
)

func service(annotations map[string]string, set ...func(*model.Service)) *model.Service {
	s := &model.Service{
		Front:    model.Front{Kind: model.KindService, Namespace: "default", Name: "nginx", UID: uidA, Annotations: annotations},
		Type:     "LoadBalancer",
		Selector: map[string]string{"app": "nginx"},
		Ports:    []model.ServicePort{{Protocol: model.TCP, Port: 80, TargetPort: 8080}},
	}
	for _, f := range set {
		f(s)
	}
	return s
}

func TestClaimed(t *testing.T) {
	direct := map[string]string{DirectAccess: "true"}
	class := func(c string) func(*model.Service) { return func(s *model.Service) { s.Class = c } }
	cases := map[string]struct {
		reason string
		mode   ClaimMode
		svc    *model.Service
		want   bool
		// field is the annotation complained about.
		field string
	}{
		"ByClass":              {reason: "our class and direct access", mode: ByClass, svc: service(direct, class(Class)), want: true},
		"ByClassWithout":       {reason: "without our class it is TKE's", mode: ByClass, svc: service(direct)},
		"ByClassForeign":       {reason: "another class is another's", mode: ByClass, svc: service(direct, class("example.com/lb"))},
		"ByClassNotDirect":     {reason: "the class alone doesn't ask for direct access", mode: ByClass, svc: service(nil, class(Class))},
		"ByAnnotation":         {reason: "the annotation alone", mode: ByAnnotation, svc: service(direct), want: true},
		"ByAnnotationOurClass": {reason: "our class doesn't hurt", mode: ByAnnotation, svc: service(direct, class(Class)), want: true},
		"ByAnnotationForeign":  {reason: "another class is another's in any mode", mode: ByAnnotation, svc: service(direct, class("example.com/lb"))},
		"Off":                  {reason: "turned off", mode: ByAnnotation, svc: service(map[string]string{DirectAccess: "false"})},
		"NotABoolean":          {reason: "is complained about and claims nothing", mode: ByAnnotation, svc: service(map[string]string{DirectAccess: "yes"}), field: DirectAccess},
		"NotABooleanForeign":   {reason: "what isn't ours isn't ours to complain about", mode: ByClass, svc: service(map[string]string{DirectAccess: "yes"})},
		"ClusterIP":            {reason: "not a load balancer", mode: ByAnnotation, svc: service(direct, func(s *model.Service) { s.Type = "ClusterIP" })},
		"Deleting":             {reason: "what is going is to be released", mode: ByAnnotation, svc: service(direct, func(s *model.Service) { s.Deleting = true })},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, problem := Claimed(ServiceObject(tc.svc), Policy{Cluster: "cls-1", Claim: tc.mode})
			if got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
			field := ""
			if problem != nil {
				field = problem.Field
			}
			if field != tc.field {
				t.Errorf("%s: want a problem of %q, got %v", tc.reason, tc.field, problem)
			}
		})
	}
}

func TestBool(t *testing.T) {
	cases := map[string]struct {
		reason, value string
		want, problem bool
	}{
		"True":      {reason: "plain", value: "true", want: true},
		"UpperCase": {reason: "people write True", value: "True", want: true},
		"Spaces":    {reason: "and leave spaces", value: " true ", want: true},
		"False":     {reason: "plain", value: "false"},
		"Empty":     {reason: "set to nothing is off", value: ""},
		"One":       {reason: "TKE takes no 1", value: "1", problem: true},
		"Yes":       {reason: "nor yes", value: "yes", problem: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, problem := Bool(map[string]string{"k": tc.value}, "k")
			if got != tc.want || (problem != nil) != tc.problem {
				t.Errorf("%s: %q want %t and problem %t, got %t and %v", tc.reason, tc.value, tc.want, tc.problem, got, problem)
			}
		})
	}
	if got, problem := Bool(nil, "k"); got || problem != nil {
		t.Errorf("absent is off and no problem, got %t and %v", got, problem)
	}
}

func TestProblemString(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Problem
		want   string
	}{
		"All":     {reason: "code, field, message", args: Problem{"E4037", "a.b", "is bad"}, want: "E4037: a.b: is bad"},
		"Message": {reason: "alone", args: Problem{Message: "is bad"}, want: "is bad"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.args.String()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLoadBalancerOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		svc    *model.Service
		want   string
	}{
		"None":     {reason: "not known yet", svc: service(nil)},
		"Ours":     {reason: "what we wrote", svc: service(map[string]string{LoadBalancerID: "lb-1"}), want: "lb-1"},
		"Existing": {reason: "the user's choice beats what we wrote", svc: service(map[string]string{LoadBalancerID: "lb-1", ExistingLB: "lb-2"}), want: "lb-2"},
		"Deleting": {reason: "what is held is where we wrote it is", svc: service(map[string]string{LoadBalancerID: "lb-1", ExistingLB: "lb-2"}, func(s *model.Service) { s.Deleting = true }), want: "lb-1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := LoadBalancerOf(&tc.svc.Front); got != tc.want {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestConfigNameOf(t *testing.T) {
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        string
	}{
		"None":     {reason: "nothing said"},
		"Named":    {reason: "by name", annotations: map[string]string{ServiceConfig: "mine"}, want: "mine"},
		"Auto":     {reason: "made for the Service", annotations: map[string]string{ServiceConfigAuto: "true"}, want: "nginx-auto-service-config"},
		"AutoOff":  {reason: "switched off", annotations: map[string]string{ServiceConfigAuto: "false"}},
		"Both":     {reason: "the one that somebody wrote", annotations: map[string]string{ServiceConfig: "mine", ServiceConfigAuto: "true"}, want: "mine"},
		"AutoWord": {reason: "not a boolean is not on", annotations: map[string]string{ServiceConfigAuto: "maybe"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ConfigNameOf(&service(tc.annotations).Front); got != tc.want {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestHeld(t *testing.T) {
	if Held(&model.Front{Kind: model.KindService, Finalizers: []string{"other", IngressFinalizer}}) {
		t.Error("another's finalizer is not ours")
	}
	if !Held(&model.Front{Kind: model.KindService, Finalizers: []string{"other", Finalizer}}) {
		t.Error("ours among others is ours")
	}
}

func TestRefused(t *testing.T) {
	for name, m := range map[string]map[string]string{
		"None": nil,
		"One":  {"TCP/80": "E4016"},
		"Some": {"TCP/80": "E4016", "UDP/53": CodeSharedBackend, RefusedAll: "E4011"},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := map[string]string{}
			if v, ok := RefusedValue(m).(string); ok {
				annotations[Refused] = v
			}
			if got := RefusedOf(&model.Front{Annotations: annotations}); !SameRefused(got, m) {
				t.Errorf("want %v back, got %v", m, got)
			}
		})
	}
	if got := RefusedOf(&model.Front{Annotations: map[string]string{Refused: "{"}}); len(got) != 0 {
		t.Errorf("what can't be read is nothing, got %v", got)
	}
	if v := RefusedValue(map[string]string{}); v != nil {
		t.Errorf("an empty record removes the annotation, got %v", v)
	}
	if SameRefused(map[string]string{"TCP/80": "E1"}, map[string]string{"TCP/80": "E2"}) {
		t.Error("another code is another record")
	}
	if got := PortKey(model.UDP, 53); got != "UDP/53" {
		t.Errorf("want UDP/53, got %s", got)
	}
}
