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

// Handler serves the rules:
//
//	GET    /faults       all of them, as a JSON array
//	POST   /faults       set the one in the body; answers it with its id
//	DELETE /faults/{id}  take it away; * for all
//
// What is refused is 400 with the reason as text.
func (f *Faults) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, f.List()) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var rule Rule
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		d.DisallowUnknownFields()
		err := d.Decode(&rule)
		if err == nil {
			rule.ID, err = f.Set(rule)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, rule)
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := f.Clear(r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	return mux
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
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
