package cam_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/cam"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		reason, document string
		wrong            string // part of the error, "" for none
	}{
		"Documented": {
			reason:   "The form that the documents print.",
			document: `{"version":"2.0","statement":[{"effect":"allow","action":["name/clb:Describe*"],"resource":["*"]}]}`,
		},
		"Strings": {
			reason:   "One action or resource needs no list.",
			document: `{"version":"2.0","statement":[{"effect":"deny","action":"*","resource":"qcs::clb:ap-guangzhou:uin/1:clb/lb-1"}]}`,
		},
		"Condition": {
			reason:   "A statement that holds only sometimes can't be evaluated in part.",
			document: `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"*","condition":{"ip_equal":{"qcs:ip":["10.0.0.0/8"]}}}]}`,
			wrong:    "condition",
		},
		"SecondStatement": {
			reason:   "The statement that is wrong is named.",
			document: `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"*"},{"effect":"permit","action":"*","resource":"*"}]}`,
			wrong:    "statement 1",
		},
		"Version":         {"There is one version.", `{"version":"3.0","statement":[{"effect":"allow","action":"*","resource":"*"}]}`, "version"},
		"NoStatement":     {"A policy says something.", `{"version":"2.0","statement":[]}`, "no statement"},
		"NoAction":        {"Without an action a statement says nothing.", `{"version":"2.0","statement":[{"effect":"allow","resource":"*"}]}`, "no action"},
		"NoResource":      {"Nor without a resource.", `{"version":"2.0","statement":[{"effect":"allow","action":"*"}]}`, "no resource"},
		"NotAction":       {"What is unknown may narrow a permission.", `{"version":"2.0","statement":[{"effect":"allow","notAction":"*","resource":"*"}]}`, "notAction"},
		"Principal":       {"Policies of roles and resources are others.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"*","principal":{"service":"scf.qcloud.com"}}]}`, "principal"},
		"FeatureSet":      {"Feature sets are lists nobody has here.", `{"version":"2.0","statement":[{"effect":"allow","action":"permid/280655","resource":"*"}]}`, "permid/280655"},
		"BareAction":      {"An action belongs to a service.", `{"version":"2.0","statement":[{"effect":"allow","action":"RegisterTargets","resource":"*"}]}`, "RegisterTargets"},
		"FiveParts":       {"A resource has six parts.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"qcs::clb:ap-guangzhou:clb/lb-1"}]}`, "neither"},
		"ForeignResource": {"They begin with qcs.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"arn::clb:ap-guangzhou:uin/1:clb/lb-1"}]}`, "neither"},
		"Project":         {"The project has to be empty.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"qcs:id/0:clb:ap-guangzhou:uin/1:clb/lb-1"}]}`, "project"},
		"Number":          {"A resource is text.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":[1]}]}`, "reading a policy"},
		"Trailing":        {"One document is one policy.", `{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"*"}]} {}`, "more after it"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := cam.Parse([]byte(tc.document))
			if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s: want an error with %q, got %v", tc.reason, tc.wrong, err)
			}
		})
	}
}

// rule makes a statement.
func rule(effect, action string, resources ...string) map[string]any {
	return map[string]any{"effect": effect, "action": action, "resource": resources}
}

// policy makes a policy of statements.
func policy(t *testing.T, statements ...map[string]any) cam.Policy {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"version": "2.0", "statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	p, err := cam.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAuthorize(t *testing.T) {
	one, two := cam.Resource("clb", "ap-guangzhou", "clb/lb-1"), cam.Resource("clb", "ap-guangzhou", "clb/lb-2")
	cases := map[string]struct {
		reason     string
		statements []map[string]any
		action     string
		resources  []string
		want       string // the resource that is denied, "" for none
	}{
		"Nothing":           {"What nobody allows is denied.", nil, "clb:CreateRule", []string{one}, one},
		"All":               {"* is every resource.", []map[string]any{rule("allow", "*", "*")}, "clb:CreateRule", []string{one}, ""},
		"OtherAction":       {"Only what is named is allowed.", []map[string]any{rule("allow", "clb:CreateRule", "*")}, "clb:DeleteRule", []string{one}, one},
		"OtherService":      {"An action belongs to its service.", []map[string]any{rule("allow", "scf:*", "*")}, "clb:CreateRule", []string{one}, one},
		"Wildcard":          {"* is any part of a name.", []map[string]any{rule("allow", "clb:*Rule", "*")}, "clb:CreateRule", []string{one}, ""},
		"WildcardElsewhere": {"The rest has to be the same.", []map[string]any{rule("allow", "clb:*Rule", "*")}, "clb:CreateRules", []string{one}, one},
		"WildcardTwice":     {"Any number of them.", []map[string]any{rule("allow", "clb:*Target*", "*")}, "clb:BatchRegisterTargets", []string{one}, ""},
		"WildcardOverlap":   {"They don't share characters.", []map[string]any{rule("allow", "clb:Aba*aba", "*")}, "clb:Ababa", []string{one}, one},
		"NamePrefix":        {"The older form of actions says the same.", []map[string]any{rule("allow", "name/clb:CreateRule", "*")}, "clb:CreateRule", []string{one}, ""},
		"One":               {"A resource is allowed by its name.", []map[string]any{rule("allow", "clb:*", one)}, "clb:CreateRule", []string{one}, ""},
		"Other":             {"And no other.", []map[string]any{rule("allow", "clb:*", one)}, "clb:CreateRule", []string{two}, two},
		"Both":              {"Every resource has to be allowed.", []map[string]any{rule("allow", "clb:*", one)}, "clb:DeleteLoadBalancer", []string{one, two}, two},
		"Kind":              {"A kind of resource is allowed by *.", []map[string]any{rule("allow", "clb:*", "qcs::clb:ap-guangzhou:uin/"+cam.UIN+":clb/*")}, "clb:CreateRule", []string{one}, ""},
		"Empty":             {"Empty parts are all services, all regions and the own account.", []map[string]any{rule("allow", "clb:*", "qcs:::::clb/lb-1")}, "clb:CreateRule", []string{one}, ""},
		"Region":            {"A region is one.", []map[string]any{rule("allow", "clb:*", "qcs::clb:ap-beijing::clb/*")}, "clb:CreateRule", []string{one}, one},
		"Account":           {"So is an account.", []map[string]any{rule("allow", "clb:*", "qcs::clb::uin/1:clb/*")}, "clb:CreateRule", []string{one}, one},
		"DenyLast":          {"Deny is over allow.", []map[string]any{rule("allow", "*", "*"), rule("deny", "clb:*", two)}, "clb:CreateRule", []string{two}, two},
		"DenyFirst":         {"Whatever the order.", []map[string]any{rule("deny", "clb:*", two), rule("allow", "*", "*")}, "clb:CreateRule", []string{two}, two},
		"DenyOther":         {"What is denied elsewhere is allowed here.", []map[string]any{rule("deny", "clb:*", two), rule("allow", "*", "*")}, "clb:CreateRule", []string{one}, ""},
		"Operation":         {"An operation-level action is allowed on *.", []map[string]any{rule("allow", "clb:Describe*", "*")}, "clb:DescribeTargets", nil, ""},
		"OperationNarrow":   {"And denied by naming resources.", []map[string]any{rule("allow", "clb:Describe*", "qcs::clb:::clb/*")}, "clb:DescribeTargets", nil, "*"},
		"OperationWide":     {"Even by naming all of them.", []map[string]any{rule("allow", "*", "qcs::*:*:*:*")}, "clb:DescribeTargets", nil, "*"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// Each statement may be in a policy of its own: the order and the grouping are
			// without effect.
			var apart []cam.Policy
			for _, s := range tc.statements {
				apart = append(apart, policy(t, s))
			}
			together := apart
			if len(tc.statements) > 0 {
				together = []cam.Policy{policy(t, tc.statements...)}
			}
			for _, policies := range [][]cam.Policy{apart, together} {
				got := ""
				if denied := cam.Authorize(policies, cam.Request{Action: tc.action, Resources: tc.resources}); denied != nil {
					got = denied.Resource
					if denied.Action != tc.action {
						t.Errorf("%s: want %s to be named, got %s", tc.reason, tc.action, denied.Action)
					}
				}
				if got != tc.want {
					t.Errorf("%s: want %q to be denied, got %q", tc.reason, tc.want, got)
				}
			}
		})
	}
}

// FuzzParse looks for documents that are read and then don't mean what they say: beside
// a statement that denies everything nothing is allowed, and beside one that allows
// everything only what is denied isn't.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":"2.0","statement":[{"effect":"allow","action":["name/clb:Describe*"],"resource":["*"]}]}`), "clb:DescribeTargets", "clb/lb-1")
	f.Add([]byte(`{"version":"2.0","statement":[{"effect":"deny","action":"*","resource":"qcs::clb:ap-guangzhou:uin/1:clb/*"}]}`), "clb:CreateRule", "clb/*")
	f.Add([]byte(`{"version":"2.0","statement":[{"effect":"allow","action":"*","resource":"*","condition":{}}]}`), "*", "")
	f.Fuzz(func(t *testing.T, document []byte, action, name string) {
		p, err := cam.Parse(document)
		if err != nil {
			return
		}
		all := policy(t, rule("allow", "*", "*"))
		q := cam.Request{Action: action, Resources: []string{cam.Resource("clb", "ap-guangzhou", name)}}
		alone := cam.Authorize([]cam.Policy{p}, q)
		if alone == nil && cam.Authorize([]cam.Policy{p, all}, q) != nil {
			t.Error("allowing more denies what was allowed")
		}
		if cam.Authorize([]cam.Policy{p, policy(t, rule("deny", "*", "*"))}, q) == nil {
			t.Error("what is denied is allowed")
		}
	})
}
