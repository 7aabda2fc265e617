package scf_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// granted is a policy of one statement that allows.
func granted(t *testing.T, action string, resources ...string) []cam.Policy {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"version": "2.0", "statement": []any{
		map[string]any{"effect": "allow", "action": action, "resource": resources},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := cam.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return []cam.Policy{p}
}

func TestPermissions(t *testing.T) {
	function := func(name string) string {
		return cam.Resource("scf", scf.DefaultRegion, "namespace/default/function/"+name)
	}
	own := func(o *scf.Options) { o.OwnInvoke = true }
	coarse := func(o *scf.Options) { o.CoarseInvoke = true }
	cases := map[string]struct {
		reason   string
		set      func(*scf.Options)
		policies func(*testing.T, string) []cam.Policy // of the function's resource
		call     string
		want     string // what the message names, "" for a call that is permitted
	}{
		"Nothing":  {"Who was granted nothing invokes nothing.", nil, func(*testing.T, string) []cam.Policy { return []cam.Policy{} }, "InvokeFunction", "scf:InvokeFunction"},
		"Main":     {"The main account may.", nil, func(*testing.T, string) []cam.Policy { return nil }, "InvokeFunction", ""},
		"Function": {"A function is allowed by its name.", nil, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:InvokeFunction", f) }, "InvokeFunction", ""},
		"Other":    {"And no other is.", nil, func(t *testing.T, _ string) []cam.Policy { return granted(t, "scf:InvokeFunction", function("other")) }, "InvokeFunction", "/function/"},
		"Invoke":   {"One permission is for both actions.", nil, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:InvokeFunction", f) }, "Invoke", ""},
		"InvokeElse": {"It isn't that of the other name.", nil, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:Invoke", f) }, "Invoke",
			"scf:InvokeFunction"},
		"OwnInvoke":     {"Unless each has its own.", own, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:Invoke", f) }, "Invoke", ""},
		"OwnInvokeElse": {"Then the other one is not enough.", own, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:InvokeFunction", f) }, "Invoke", "scf:Invoke)"},
		"Coarse":        {"An operation-level action is denied by naming a function.", coarse, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:*", f) }, "InvokeFunction", "resource (*)"},
		"CoarseAll":     {"And allowed on all.", coarse, func(t *testing.T, _ string) []cam.Policy { return granted(t, "scf:*", "*") }, "Invoke", ""},
		"Status":        {"Reading how a request went is a permission of its own.", nil, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:InvokeFunction", f) }, "GetRequestStatus", "scf:GetRequestStatus"},
		"StatusAllowed": {"Which is granted by its name.", nil, func(t *testing.T, f string) []cam.Policy { return granted(t, "scf:GetRequestStatus", f) }, "GetRequestStatus", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := start(t, tc.set)
			f := e.Function("plain")
			e.store.Add(tc3.Credential{SecretID: "AKIDcaller", SecretKey: "secret", Policies: tc.policies(t, function(f))})
			var err error
			switch tc.call {
			case "InvokeFunction":
				_, err = e.tryInvoke("plain", `{}`)
			case "Invoke":
				q := api.NewInvokeRequest()
				q.FunctionName = &f
				_, err = e.client.InvokeWithContext(context.Background(), q)
			case "GetRequestStatus":
				q := api.NewGetRequestStatusRequest()
				q.FunctionName, q.FunctionRequestId = &f, new("11111111-2222-3333-4444-555555555555")
				_, err = e.client.GetRequestStatusWithContext(context.Background(), q)
			}
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if code(err) != "UnauthorizedOperation" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want UnauthorizedOperation with %q, got %v", tc.reason, tc.want, err)
			}
			if ran := e.Invocations(); len(ran) > 0 {
				t.Errorf("%s: the function ran: %+v", tc.reason, ran)
			}
		})
	}
}

// TestRolePolicies looks at the credentials that a function is given while it runs.
func TestRolePolicies(t *testing.T) {
	policies := granted(t, "clb:Describe*", "*")
	e := start(t, func(o *scf.Options) { o.RolePolicies, o.CredentialLifetime = policies, time.Minute })
	var given struct{ Environment map[string]string }
	e.mustAnswer("plain", `{"do":"context"}`, &given)
	c, found := e.store.Lookup(given.Environment["TENCENTCLOUD_SECRETID"])
	if !found || c.Policies == nil {
		t.Fatalf("want a credential with the role's policies, got %+v (%t)", c, found)
	}
	if denied := cam.Authorize(c.Policies, cam.Request{Action: "clb:DescribeTargets"}); denied != nil {
		t.Errorf("want what the role was granted to be allowed, got %v", denied)
	}
	if cam.Authorize(c.Policies, cam.Request{Action: "clb:CreateRule"}) == nil {
		t.Error("want what it was not granted to be denied")
	}
}
