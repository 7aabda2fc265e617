package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
)

// eventWith is a good event for backends, changed by set.
func eventWith(set func(e, data map[string]any)) string {
	data := map[string]any{
		"cluster": stack.ClusterID, "attempt": "by-hand", "all": true,
		"loadBalancers": []any{"lb-00000000"}, "objects": []any{map[string]any{"namespace": "default", "name": "web"}},
	}
	e := map[string]any{
		"specversion": "1.0", "id": "1", "type": event.Type(event.Backends), "source": event.Source(stack.ClusterID),
		"datacontenttype": "application/json", "data": data,
	}
	set(e, data)
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err) // maps of strings
	}
	return string(raw)
}

// badInput is what a function must refuse, and the field it must name.
var badInput = map[string]struct {
	reason, body, field string
}{
	"Empty":          {"nothing at all", "", "payload"},
	"NotJSON":        {"a malformed event", `{"specversion":`, "payload"},
	"NotAnEvent":     {"some other JSON", `{"hello":"world"}`, "specversion"},
	"OldVersion":     {"a version that isn't spoken", eventWith(func(e, _ map[string]any) { e["specversion"] = "0.3" }), "specversion"},
	"UnknownType":    {"an unknown type", eventWith(func(e, _ map[string]any) { e["type"] = "io.clb-direct.backends.explode" }), "type"},
	"OtherFunction":  {"meant for another function", eventWith(func(e, _ map[string]any) { e["type"] = event.Type(event.Frontend) }), "type"},
	"ForeignCluster": {"another cluster's", eventWith(func(e, d map[string]any) { d["cluster"], e["source"] = "cls-other", event.Source("cls-other") }), "data.cluster"},
	"ForeignSource":  {"says two clusters", eventWith(func(e, _ map[string]any) { e["source"] = event.Source("cls-other") }), "source"},
	"NoCluster":      {"says none", eventWith(func(_, d map[string]any) { delete(d, "cluster") }), "data.cluster"},
	"NoData":         {"no data", eventWith(func(e, _ map[string]any) { delete(e, "data") }), "data"},
	"WrongData":      {"data of another shape", eventWith(func(_, d map[string]any) { d["objects"] = "web" }), "data"},
	"NoAttempt":      {"nobody to hold the Lease", eventWith(func(_, d map[string]any) { delete(d, "attempt") }), "data.attempt"},
	"NoLoadBalancer": {"nowhere to look", eventWith(func(_, d map[string]any) { delete(d, "loadBalancers") }), "data.loadBalancers"},
	"TwoBalancers":   {"too many places to look", eventWith(func(_, d map[string]any) { d["loadBalancers"] = []any{"lb-1", "lb-2"} }), "data.loadBalancers"},
	"NamelessPod":    {"a pod without a UID", eventWith(func(_, d map[string]any) { d["pods"] = []any{map[string]any{"namespace": "a", "name": "b"}} }), "data.pods[0]"},
	"WildGrant":      {"a budget that there isn't", eventWith(func(_, d map[string]any) { d["grant"] = map[string]any{"*": 500} }), "data.grant.*"},
}

// "Bad input (malformed event, unknown type, foreign cluster) gets a clear error naming
// the field, counted, with nothing changed."
func TestBadInputIsRefusedNamingTheField(t *testing.T) {
	t.Parallel()
	for name, tc := range badInput {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := shared.sender().post(t.Context(), event.Backends, event.Sign(shared.EventSecret, tc.body, time.Now()), tc.body)
			if err != nil {
				t.Fatal(err)
			}
			refusedNaming(t, tc.reason, 400, tc.field, res)
		})
	}
}

// refusedNaming requires a refusal that names the field and cost the CLB no call.
func refusedNaming(t *testing.T, reason string, status int, field string, res response) {
	t.Helper()
	var got struct {
		Failure event.Failure `json:"failure"`
	}
	if err := json.Unmarshal(res.body, &got); err != nil {
		t.Fatalf("%s: %v in %q", reason, err, res.body)
	}
	want := fmt.Sprintf("%d %s", status, field)
	if diff := cmp.Diff(want, fmt.Sprintf("%d %s", res.status, got.Failure.Field)); diff != "" {
		t.Errorf("%s: status and field: -want +got:\n%s%s", reason, diff, res.body)
	}
	if !strings.Contains(got.Failure.Message, field) {
		t.Errorf("%s: want the message to name %s, got %q", reason, field, got.Failure.Message)
	}
	for _, c := range shared.CLB.Calls() {
		if strings.HasSuffix(c.Principal, "/"+res.requestID) {
			t.Errorf("%s: the CLB was called: %s", reason, c.Action)
		}
	}
	counted := false
	awaitFor(t, 10*time.Second, "the refusal is logged with its count", func() (bool, string) {
		tail := shared.tail(400, `"rejected"`)
		counted = strings.Contains(tail, `"rejected":`) && strings.Contains(tail, field)
		return counted, tail
	})
}

// "Authenticated to the functions; a function answers nobody else."
func TestUnsignedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	body := eventWith(func(_, _ map[string]any) {})
	now := time.Now()
	cases := map[string]struct {
		reason  string
		headers map[string]string
		field   string
	}{
		"Unsigned":    {"no signature", nil, event.TimestampHeader},
		"WrongSecret": {"somebody else's secret", event.Sign("guess", body, now), event.SignatureHeader},
		"OtherBody":   {"a signature for another body", event.Sign(shared.EventSecret, body+" ", now), event.SignatureHeader},
		"Old":         {"a request from long ago", event.Sign(shared.EventSecret, body, now.Add(-time.Hour)), event.TimestampHeader},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range event.Functions {
				res, err := shared.sender().post(t.Context(), f, tc.headers, body)
				if err != nil {
					t.Fatal(err)
				}
				refusedNaming(t, tc.reason, 401, tc.field, res)
			}
		})
	}
}

// By InvokeFunction, bad input is a function error that names the field.
func TestBadInputByInvokeFunctionIsAFunctionError(t *testing.T) {
	t.Parallel()
	names := map[event.Function]string{}
	for _, f := range event.Functions {
		names[f] = shared.SCF.Function(string(f))
	}
	tr, err := transport.NewInvoke(transport.InvokeOptions{
		Functions: names, Namespace: "default", Region: stack.Region, Endpoint: shared.SCF.Endpoint(), Scheme: "HTTP",
		Credential: common.NewCredential(shared.Account.SecretID, shared.Account.SecretKey), Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range badInput {
		if !json.Valid([]byte(tc.body)) {
			continue // the platform itself refuses what isn't JSON
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tr.Send(t.Context(), event.Backends, []byte(tc.body))
			if err == nil || !strings.Contains(err.Error(), tc.field) {
				t.Errorf("%s: want an error naming %s, got %v", tc.reason, tc.field, err)
			}
		})
	}
}
