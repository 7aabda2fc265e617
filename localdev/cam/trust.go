package cam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Trust is the trust policy of a role: who may assume it. The zero value trusts nobody.
//
// Emulated are statements that allow services and identity providers, the latter under
// conditions string_equal on what a token says: of several values of a condition one must
// be there, of several conditions all. What else a document has is refused when it is read.
type Trust struct{ statements []trusted }

type trusted struct {
	actions, services, federated []string
	claims                       map[string][]string
}

// ParseTrust reads a document.
func ParseTrust(raw []byte) (Trust, error) {
	var d struct {
		Version   string `json:"version"`
		Statement []struct {
			Effect    string `json:"effect"`
			Action    words  `json:"action"`
			Principal struct {
				Service   words `json:"service"`
				Federated words `json:"federated"`
			} `json:"principal"`
			Condition struct {
				StringEqual map[string]words `json:"string_equal"`
			} `json:"condition"`
		} `json:"statement"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Trust{}, fmt.Errorf("reading a trust policy: %w", err)
	}
	if d.Version != "2.0" || len(d.Statement) == 0 {
		return Trust{}, errors.New(`reading a trust policy: want version "2.0" and a statement`)
	}
	var t Trust
	for i, s := range d.Statement {
		if s.Effect != "allow" || len(s.Action) == 0 || len(s.Principal.Service)+len(s.Principal.Federated) == 0 {
			return Trust{}, fmt.Errorf("reading a trust policy: statement %d: want the effect allow, an action, and a service or provider as principal", i)
		}
		one := trusted{services: s.Principal.Service, federated: s.Principal.Federated, claims: map[string][]string{}}
		for _, a := range s.Action {
			one.actions = append(one.actions, strings.TrimPrefix(a, "name/"))
		}
		for claim, values := range s.Condition.StringEqual {
			one.claims[claim] = values
		}
		t.statements = append(t.statements, one)
	}
	return t, nil
}

// Admits tells whether somebody with a token of an identity provider may assume the role.
// claims are what the token says, by names such as oidc:sub; one may have several values.
func (t Trust) Admits(provider string, claims map[string][]string) bool {
	return slices.ContainsFunc(t.statements, func(s trusted) bool {
		if !slices.Contains(s.actions, "sts:AssumeRoleWithWebIdentity") || !slices.Contains(s.federated, Provider(provider)) {
			return false
		}
		for claim, values := range s.claims {
			if !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(claims[claim], v) }) {
				return false
			}
		}
		return true
	})
}

// AdmitsService tells whether a service of the cloud, such as scf.qcloud.com, may.
func (t Trust) AdmitsService(service string) bool {
	return slices.ContainsFunc(t.statements, func(s trusted) bool {
		return slices.Contains(s.actions, "sts:AssumeRole") && slices.Contains(s.services, service)
	})
}

// Provider is the name of an identity provider of the account.
func Provider(name string) string { return "qcs::cam::uin/" + UIN + ":oidc-provider/" + name }

// Role is the name of a role of the account.
func Role(name string) string { return "qcs::cam::uin/" + UIN + ":roleName/" + name }
