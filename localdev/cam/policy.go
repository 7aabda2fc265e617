// Package cam evaluates policies of Cloud Access Management (CAM) for the emulators:
// documents of version 2.0 that allow or deny actions on resources.
//
// An action that CAM documents as resource-level is allowed if every resource it touches
// is. One that it documents as operation-level knows no resources: only a statement for
// all of them, "*", speaks of it, and one that names resources leaves it denied. What
// nobody allows is denied, and what somebody denies is, whoever allows it.
//
// Not here are conditions, feature sets (permid/...) and policies of resources: a
// document that has them is refused when it is read, since a permission that is
// evaluated in part is none. The case of letters counts.
package cam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Policy is one document. The zero value says nothing.
type Policy struct{ statements []statement }

// statement is one of a policy's, checked.
type statement struct {
	deny      bool
	actions   []string
	resources []pattern
}

// document is the wire form (CAM, "Syntax Structure").
type document struct {
	Version   string `json:"version"`
	Statement []struct {
		Effect    string          `json:"effect"`
		Action    words           `json:"action"`
		Resource  words           `json:"resource"`
		Condition json.RawMessage `json:"condition"`
	} `json:"statement"`
}

// words are one string or several.
type words []string

// UnmarshalJSON reads either form.
func (w *words) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*w = words{""}
		return json.Unmarshal(raw, &(*w)[0])
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*w = list
	return nil
}

// Parse reads a document. What it can't evaluate in full is an error.
func Parse(raw []byte) (Policy, error) {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Policy{}, fmt.Errorf("reading a policy: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, errors.New("reading a policy: there is more after it")
	}
	if d.Version != "2.0" {
		return Policy{}, fmt.Errorf(`reading a policy: its version is %q, want "2.0"`, d.Version)
	}
	if len(d.Statement) == 0 {
		return Policy{}, errors.New("reading a policy: it has no statement")
	}
	var p Policy
	for i, raw := range d.Statement {
		s, err := newStatement(raw.Effect, raw.Action, raw.Resource)
		if err == nil && raw.Condition != nil {
			err = errors.New("conditions are not emulated")
		}
		if err != nil {
			return Policy{}, fmt.Errorf("reading a policy: statement %d: %w", i, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func newStatement(effect string, actions, resources words) (statement, error) {
	if effect != "allow" && effect != "deny" {
		return statement{}, fmt.Errorf("the effect is %q, want allow or deny", effect)
	}
	s := statement{deny: effect == "deny"}
	for _, text := range actions {
		// The prefix is what actions were told from feature sets by.
		name := strings.TrimPrefix(text, "name/")
		service, action, found := strings.Cut(name, ":")
		if name != "*" && (!found || service == "" || action == "" || strings.ContainsAny(name, "/ ") || strings.Contains(action, ":")) {
			return statement{}, fmt.Errorf("the action %q is not service:Action", text)
		}
		s.actions = append(s.actions, name)
	}
	for _, text := range resources {
		p, err := newPattern(text)
		if err != nil {
			return statement{}, err
		}
		s.resources = append(s.resources, p)
	}
	if len(s.actions) == 0 || len(s.resources) == 0 {
		return statement{}, errors.New("it has no action or no resource")
	}
	return s, nil
}
