package stack

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// granted reads a policy that whoever installs this grants (infra/cam): nothing here may
// do more, so that what is missing from it is missed.
func (s *Stack) granted(name string) ([]cam.Policy, error) {
	raw, err := os.ReadFile(filepath.Join(s.o.Root, "infra", "cam", name))
	if err != nil {
		return nil, fmt.Errorf("reading the permissions: %w", err)
	}
	p, err := cam.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading infra/cam/%s: %w", name, err)
	}
	return []cam.Policy{p}, nil
}

// Key makes a key of the account that may do what some files of infra/cam say, and no
// more.
func (s *Stack) Key(principal string, policies ...string) (tc3.Credential, error) {
	c := tc3.Credential{SecretID: "AKID" + principal, Principal: principal}
	for _, name := range policies {
		granted, err := s.granted(name)
		if err != nil {
			return tc3.Credential{}, err
		}
		c.Policies = append(c.Policies, granted...)
	}
	var err error
	if c.SecretKey, err = secret(); err != nil {
		return tc3.Credential{}, err
	}
	s.Store.Add(c)
	return c, nil
}
