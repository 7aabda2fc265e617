package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

const faultUsage = `usage:
  localdev fault list
  localdev fault set name=value ...
  localdev fault clear id       (* for all)

for example
  localdev fault set call=BatchRegisterTargets code=InternalError times=3
  localdev fault set call=BatchModifyTargetWeight drop=true        applied, never answered
  localdev fault set call=* beforeMillis=2000                      the whole API slow
  localdev fault set event=backends kill=during inMillis=200 times=1
  localdev fault set event=* lose=true times=10
docs/faults.md has all of them`

// setFault lists, sets or clears faults of the running stack.
func setFault(ctx context.Context, root string, args []string, w io.Writer) error {
	if len(args) == 0 {
		return errors.New(faultUsage)
	}
	r, err := whatIsUp(root)
	if err != nil {
		return err
	}
	at := fault.Remote{URL: r.Faults}
	switch {
	case args[0] == "list" && len(args) == 1:
		rules, err := at.List(ctx)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			raw, err := json.Marshal(rule)
			if err != nil {
				return err
			}
			fmt.Fprintln(w, string(raw))
		}
		return nil
	case args[0] == "set" && len(args) > 1:
		rule, err := parseFault(args[1:])
		if err != nil {
			return err
		}
		id, err := at.Set(ctx, rule)
		if err == nil {
			fmt.Fprintln(w, "fault", id)
		}
		return err
	case args[0] == "clear" && len(args) == 2:
		return at.Clear(ctx, args[1])
	}
	return errors.New(faultUsage)
}

// parseFault reads name=value pairs, the names being those of fault.Rule's JSON.
func parseFault(pairs []string) (fault.Rule, error) {
	object := map[string]json.RawMessage{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fault.Rule{}, fmt.Errorf("reading %q: want name=value", pair)
		}
		object[name] = json.RawMessage(value)
		if !json.Valid(object[name]) || strings.HasPrefix(value, "{") { // a word
			raw, err := json.Marshal(value)
			if err != nil {
				return fault.Rule{}, err
			}
			object[name] = raw
		}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return fault.Rule{}, err
	}
	var rule fault.Rule
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&rule); err != nil {
		return rule, fmt.Errorf("reading the fault: %w", err)
	}
	return rule, nil
}

// serveFaults takes orders for faults on a port of loopback.
func serveFaults(s *stack.Stack) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening for faults: %w", err)
	}
	server := &http.Server{Handler: s.Faults.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until it is closed
	return "http://" + l.Addr().String(), func() { _ = server.Close() }, nil
}
