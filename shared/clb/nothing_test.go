package clb

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// fill makes up a value of the SDK's types: anything that is a pointer may be nil, also
// in the middle of a list.
func fill(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 0 && rapid.IntRange(0, 3).Draw(t, "there") > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), depth-1)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		if depth == 0 {
			n = 0
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), depth)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), depth)
		}
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "HTTP", "HTTPS", "TCP", oneWay, mutual, "10.0.0.1", "[::1]", "a.example.com", "2026-01-01 00:00:00", "x"}).Draw(t, "text"))
	case reflect.Int64:
		v.SetInt(rapid.Int64Range(-1, 40).Draw(t, "number"))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 40).Draw(t, "number"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Float64:
		v.SetFloat(1)
	}
}

func made[T any](t *rapid.T) *T {
	var v T
	fill(t, reflect.ValueOf(&v).Elem(), 5)
	return &v
}

// TestReadAnything: whatever an answer leaves out, it is read, and never as more than it
// says.
func TestReadAnything(t *testing.T) { rapid.Check(t, readAnything) }

func FuzzReadAnything(f *testing.F) { f.Fuzz(rapid.MakeFuzz(readAnything)) }

func readAnything(t *rapid.T) {
	rule := made[sdk.RuleOutput](t)
	got := ruleOf(rule, model.HTTPS)
	if got.Redirect != nil && got.Redirect.To.Location == "" {
		t.Errorf("a redirect to nowhere: %+v", got)
	}
	if got.Certificate.CA != "" && value(rule.Certificate.SSLMode) == oneWay {
		t.Errorf("a client's certificate where none is asked for: %+v", got)
	}
	if domainOf(got.Domain) != got.Domain {
		t.Errorf("domain %q reads as another", got.Domain)
	}
	if h := rule.HealthCheck; (h == nil || h.HealthSwitch == nil || *h.HealthSwitch != 0) != got.HealthCheck.Enabled {
		t.Errorf("a check is off only where its switch says so: %+v", got.HealthCheck)
	}

	l := made[sdk.Listener](t)
	if read := listenerOf(l); read.Protocol.Layer7() {
		if read.Attributes != (model.Attributes{}) {
			t.Errorf("a layer-7 listener has no settings of layer 4: %+v", read)
		}
	} else if len(read.Rules) != 0 {
		t.Errorf("a layer-4 listener has no rules: %+v", read)
	}
	loadBalancerOf(made[sdk.LoadBalancer](t))
	for _, x := range appendBound(nil, made[sdk.ListenerBackend](t), nil, time.Unix(1_800_000_000, 0)) {
		if x.Registered.After(time.Unix(1_800_000_060, 0)) {
			t.Errorf("registered in the future: %+v", x)
		}
	}
	health := made[sdk.ListenerHealth](t)
	verdicts := map[model.Key]Verdict{}
	addVerdicts(verdicts, health)
	for key, v := range verdicts {
		layer7 := model.Protocol(value(health.Protocol)).Layer7()
		if !layer7 && (key.Location != "" || v.Spot.Domain != "" || v.Spot.Path != "") {
			t.Errorf("a layer-4 listener has one place: %v %+v", key, v)
		}
	}
}

// TestEmptyAnswers: an answer without a body is an error, one with an empty body is
// nothing found; neither is fatal.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, body string
		found        bool
	}{
		"NoBody":   {reason: "nothing is known then", body: `{}`},
		"NullBody": {reason: "nor then", body: `{"Response":null}`},
		"Empty":    {reason: "there is nothing", body: `{"Response":{"RequestId":"r"}}`, found: true},
		"Nulls":    {reason: "nothing that could be read", body: `{"Response":{"RequestId":"r","Listeners":[null],"LoadBalancerSet":[null],"LoadBalancers":[null],"LocationIds":[null],"Status":0}}`, found: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if _, err := w.Write(json.RawMessage(tc.body)); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(server.Close)
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			client, err := New(Options{Region: "ap-test", Endpoint: server.URL, Credentials: func() (string, string, string) { return "id", "key", "" }, Transport: transport})
			if err != nil {
				t.Fatal(err)
			}
			s := client.Session(freely, nil)
			ctx := t.Context()
			lb := &model.LoadBalancer{ID: "lb-1"}
			for action, do := range map[string]func() (int, error){
				"LoadBalancers": func() (int, error) { got, err := s.LoadBalancers(ctx, "lb-1"); return len(got), err },
				"Listeners":     func() (int, error) { got, err := s.Listeners(ctx, "lb-1"); return len(got), err },
				"Targets": func() (int, error) {
					got, err := s.Targets(ctx, "lb-1", []string{"lbl-1"}, TargetFilter{})
					return len(got), err
				},
				"Health": func() (int, error) { got, err := s.Health(ctx, []string{"lb-1"}, nil); return len(got), err },
			} {
				if n, err := do(); n != 0 || (err == nil) != tc.found || !tc.found && !fault.Is(err, fault.Transient) {
					t.Errorf("%s: %s: got %d, %v", action, tc.reason, n, err)
				}
			}
			// Of a write nobody knows then whether it had an effect.
			if _, err := s.CreateRules(ctx, lb, "lbl-1", []model.WantedRule{wantedRule("a.example.com", "/")}); !tc.found && !fault.Is(err, fault.Transient) {
				t.Errorf("%s: creating rules: got %v", tc.reason, err)
			}
		})
	}
}
