package scf

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Test hands the function an event as the console's test dialog does, and waits for its
// answer. It is an error if there is no such function.
func (s *Server) Test(key string, event []byte) (Outcome, error) {
	f, err := s.function(key)
	if err != nil {
		return Outcome{}, err
	}
	return s.invoke(f, "console", event), nil
}

// FireEventBridge hands the function one event of an event bus, as a rule without batch
// delivery does: asynchronously (document 583/59100). It is an error if there is no such
// function or the platform wouldn't take the event.
func (s *Server) FireEventBridge(key string, event json.RawMessage) (*Pending, error) {
	return s.fireBridge(key, event)
}

// FireEventBridgeList is FireEventBridge for a rule with batch delivery, which hands
// over a list also of one.
func (s *Server) FireEventBridgeList(key string, events ...json.RawMessage) (*Pending, error) {
	if events == nil {
		events = []json.RawMessage{}
	}
	raw, err := json.Marshal(struct{ EventList []json.RawMessage }{events})
	if err != nil {
		return nil, fmt.Errorf("making the list: %w", err)
	}
	return s.fireBridge(key, raw)
}

func (s *Server) fireBridge(key string, payload []byte) (*Pending, error) {
	f, err := s.function(key)
	if err != nil {
		return nil, err
	}
	p, failure := s.enqueue(f, "eventbridge", payload)
	return accepted(p, failure)
}

func (s *Server) function(key string) (*function, error) {
	if f, ok := s.functions[key]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("there is no function %s", key)
}

// accepted makes an error of a refusal.
func accepted(p *Pending, refusal *Failure) (*Pending, error) {
	if refusal != nil {
		return nil, errors.New(refusal.ErrorMessage)
	}
	return p, nil
}
