package main

import (
	"bytes"
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

const faultUsage = `localdev fault list
localdev fault set name=value ...
localdev fault clear id              (* for all)
localdev fault switch name=value ... (none: how they are)
localdev fault do what name=value ...

for example
  localdev fault set call=BatchRegisterTargets code=InternalError times=3
  localdev fault set call=BatchModifyTargetWeight drop=true        applied, never answered
  localdev fault set call=* beforeMillis=2000                      the whole API slow
  localdev fault set event=backends kill=during inMillis=200 times=1
  localdev fault set event=* lose=true times=10
  localdev fault switch freezeHealth=true
  localdev fault do restart component=kube-apiserver
docs/faults.md has all of them
`

// errFaultUsage goes with faultUsage, which is printed.
var errFaultUsage = errors.New("want fault list, set, clear, switch or do")

// setFault lists, sets or clears faults of the running stack.
func setFault(ctx context.Context, root string, args []string, w io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(w, faultUsage)
		return errFaultUsage
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
		rule, err := parse[fault.Rule](args[1:])
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
	case args[0] == "switch":
		to, err := pairs(args[1:])
		if err != nil {
			return err
		}
		now, err := at.Switch(ctx, to)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(now)
		fmt.Fprintln(w, string(raw))
		return err
	case args[0] == "do" && len(args) > 1:
		act, err := parse[fault.Act](append([]string{"do=" + args[1]}, args[2:]...))
		if err != nil {
			return err
		}
		return at.Do(ctx, act)
	}
	fmt.Fprint(w, faultUsage)
	return errFaultUsage
}

// parse reads name=value pairs into a T by its JSON names.
func parse[T fault.Rule | fault.Act](words []string) (out T, err error) {
	object, err := pairs(words)
	if err != nil {
		return out, err
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return out, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return out, fmt.Errorf("reading %s: %w", strings.Join(words, " "), err)
	}
	return out, nil
}

// pairs reads name=value pairs. A value that is no number or switch is a word; addresses
// have commas between them, and none is none.
func pairs(words []string) (map[string]any, error) {
	object := map[string]any{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("reading %q: want name=value", word)
		}
		var parsed any
		if err := json.Unmarshal([]byte(value), &parsed); err != nil {
			parsed = value
		}
		if name == "hideHealth" || name == "failTargets" {
			parsed = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		}
		object[name] = parsed
	}
	return object, nil
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
