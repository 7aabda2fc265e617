package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Handler serves the rules, the switches and the acts:
//
//	GET    /faults       all rules, as a JSON array
//	POST   /faults       set the one in the body; answers it with its id
//	DELETE /faults/{id}  take it away; * for all
//	GET    /switches     how they are
//	PATCH  /switches     set those in the body, leave the others; answers all
//	POST   /acts         do what the body says, and answer when it has happened
//
// What is refused is 400 with the reason as text.
func (f *Faults) Handler() http.Handler {
	mux := http.NewServeMux()
	serve := func(pattern string, do func(*http.Request, func(any) error) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
			d.DisallowUnknownFields()
			out, err := do(r, d.Decode)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	serve("GET /faults", func(*http.Request, func(any) error) (any, error) { return f.List(), nil })
	serve("POST /faults", func(_ *http.Request, decode func(any) error) (any, error) {
		var rule Rule
		err := decode(&rule)
		if err == nil {
			rule.ID, err = f.Set(rule)
		}
		return rule, err
	})
	serve("DELETE /faults/{id}", func(r *http.Request, _ func(any) error) (any, error) {
		return nil, f.Clear(r.PathValue("id"))
	})
	serve("GET /switches", func(*http.Request, func(any) error) (any, error) { return f.Switches(), nil })
	serve("PATCH /switches", func(_ *http.Request, decode func(any) error) (any, error) {
		err := f.Switch(func(to *Switches) error {
			if err := decode(to); err != nil {
				return fmt.Errorf("reading the switches: %w", err)
			}
			return nil
		})
		return f.Switches(), err
	})
	serve("POST /acts", func(r *http.Request, decode func(any) error) (any, error) {
		var act Act
		if err := decode(&act); err != nil {
			return nil, fmt.Errorf("reading the act: %w", err)
		}
		return nil, f.Do(r.Context(), act)
	})
	return mux
}

// Remote sets faults where a Handler is served.
type Remote struct {
	// URL is where, without a path.
	URL string
}

// List, Set and Clear are those of Faults.
func (r Remote) List(ctx context.Context) (rules []Rule, err error) {
	return rules, r.do(ctx, http.MethodGet, "/faults", nil, &rules)
}

// Set adds a rule and gives its id.
func (r Remote) Set(ctx context.Context, rule Rule) (string, error) {
	var set Rule
	err := r.do(ctx, http.MethodPost, "/faults", rule, &set)
	return set.ID, err
}

// Clear takes a rule away, all of them where id is Any.
func (r Remote) Clear(ctx context.Context, id string) error {
	return r.do(ctx, http.MethodDelete, "/faults/"+url.PathEscape(id), nil, nil)
}

// Switches is how the switches are.
func (r Remote) Switches(ctx context.Context) (out Switches, err error) {
	return out, r.do(ctx, http.MethodGet, "/switches", nil, &out)
}

// Switch sets switches, given by their JSON names; the others stay as they are.
func (r Remote) Switch(ctx context.Context, to map[string]any) (out Switches, err error) {
	return out, r.do(ctx, http.MethodPatch, "/switches", to, &out)
}

// Do has an act happen, and waits until it has.
func (r Remote) Do(ctx context.Context, a Act) error {
	return r.do(ctx, http.MethodPost, "/acts", a, nil)
}

func (r Remote) do(ctx context.Context, method, path string, body, into any) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encoding the fault: %w", err)
		}
	}
	q, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	switch {
	case err != nil:
		return err
	case a.StatusCode != http.StatusOK:
		return errors.New(strings.TrimSpace(string(text)))
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}
