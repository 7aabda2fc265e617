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

// forwarderKey is a key that may do what the forwarder needs.
func (s *Stack) forwarderKey() (tc3.Credential, error) {
	policies, err := s.granted("forwarder.json")
	if err != nil {
		return tc3.Credential{}, err
	}
	key, err := secret()
	if err != nil {
		return tc3.Credential{}, err
	}
	c := tc3.Credential{SecretID: "AKIDforwarder", SecretKey: key, Principal: "forwarder", Policies: policies}
	s.Store.Add(c)
	return c, nil
}
