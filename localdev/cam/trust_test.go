package cam_test

import (
	"os"
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/cam"
)

func TestTrust(t *testing.T) {
	trust := func(statement string) string { return `{"version": "2.0", "statement": [` + statement + `]}` }
	const start = `{"effect": "allow", "action": "name/sts:AssumeRoleWithWebIdentity", "principal": {"federated": "qcs::cam::uin/` + cam.UIN + `:oidc-provider/cls-1"}`
	const conditions = `, "condition": {"string_equal": {"oidc:aud": ["a", "b"], "oidc:sub": "s"}}}`
	claims := map[string][]string{"oidc:aud": {"b", "c"}, "oidc:sub": {"s"}}
	cases := map[string]struct {
		reason, document, provider string
		claims                     map[string][]string
		want, bad                  bool
	}{
		"All":       {reason: "One value of each condition is there.", document: trust(start + conditions), provider: "cls-1", claims: claims, want: true},
		"Anybody":   {reason: "Without conditions every token of the provider will do.", document: trust(start + "}"), provider: "cls-1", want: true},
		"Provider":  {reason: "Another cluster's tokens don't.", document: trust(start + conditions), provider: "cls-2", claims: claims},
		"Subject":   {reason: "Nor another ServiceAccount's.", document: trust(start + conditions), provider: "cls-1", claims: map[string][]string{"oidc:aud": {"a"}, "oidc:sub": {"t"}}},
		"NoSubject": {reason: "A token that doesn't say isn't one that says so.", document: trust(start + conditions), provider: "cls-1", claims: map[string][]string{"oidc:aud": {"a"}}},
		"Action":    {reason: "Assuming a role by key is another matter.", document: trust(strings.Replace(start, "WithWebIdentity", "", 1) + "}"), provider: "cls-1"},
		"Deny":      {reason: "What isn't evaluated in full is refused.", document: trust(strings.Replace(start, "allow", "deny", 1) + "}"), bad: true},
		"Operator":  {reason: "So is another comparison.", document: trust(start + `, "condition": {"string_like": {"oidc:sub": "s*"}}}`), bad: true},
		"Nobody":    {reason: "And a statement about nobody.", document: trust(`{"effect": "allow", "action": "sts:AssumeRole", "principal": {}}`), bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := cam.ParseTrust([]byte(tc.document))
			if (err != nil) != tc.bad {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if got := p.Admits(tc.provider, tc.claims); got != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}

// What infra/cam has for roles is what it is said to be.
func TestTrustPoliciesOfOurRoles(t *testing.T) {
	read := func(name string) cam.Trust {
		t.Helper()
		raw, err := os.ReadFile("../../infra/cam/" + name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := cam.ParseTrust([]byte(strings.ReplaceAll(string(raw), "100000000000", cam.UIN)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return p
	}
	functions, forwarder := read("trust.json"), read("forwarder-trust.json")
	if !functions.AdmitsService("scf.qcloud.com") || functions.AdmitsService("cvm.qcloud.com") {
		t.Error("the functions' role is SCF's, and nobody else's")
	}
	claims := map[string][]string{
		"oidc:iss": {"https://ap-guangzhou-oidc.tke.tencentcs.com/id/000000000000000000000000"}, "oidc:aud": {"sts.cloud.tencent.com"},
		"oidc:sub": {"system:serviceaccount:clb-direct-system:forwarder"},
	}
	if !forwarder.Admits("cls-12345678", claims) {
		t.Error("the forwarder's role is not its ServiceAccount's")
	}
	for claim := range claims {
		other := map[string][]string{claim: {"other"}}
		for k, v := range claims {
			if k != claim {
				other[k] = v
			}
		}
		if forwarder.Admits("cls-12345678", other) || forwarder.AdmitsService("scf.qcloud.com") {
			t.Errorf("another %s may assume the forwarder's role", claim)
		}
	}
}
