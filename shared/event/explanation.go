package event

import (
	"fmt"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Explanation is the answer to "why is it (not) ready?": for an object and each of its
// pods.
type Explanation struct {
	Kind      model.Kind `json:"kind"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	// Summary is the answer in one sentence.
	Summary string `json:"summary"`
	// Do is what to do about it, "" where the pods' own answers say so.
	Do string `json:"do,omitempty"`
	// LoadBalancer is the CLB's id, Addresses where it serves.
	LoadBalancer string   `json:"loadBalancer,omitempty"`
	Addresses    []string `json:"addresses,omitempty"`
	// Problems are what is wrong with the object itself, and what to do.
	Problems []string         `json:"problems,omitempty"`
	Pods     []PodExplanation `json:"pods,omitempty"`
}

// PodExplanation is one pod's.
type PodExplanation struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	IP        string `json:"ip,omitempty"`
	// Ready is what the gate says, or with no gate the containers; Since when, for one
	// of which nobody said anything yet since its creation.
	Ready bool      `json:"ready"`
	Since time.Time `json:"since,omitzero"`
	// Gated: it has the readiness gate.
	Gated bool `json:"gated"`
	// Undrained are its containers that get SIGTERM while load balancers may still send
	// them something new: they have no drain hook.
	Undrained []string `json:"undrained,omitempty"`
	// Cause is what it waits for, or why it is Ready and yet gets no traffic, "" for
	// nothing, and Do what to do about it.
	Cause string `json:"cause,omitempty"`
	Do    string `json:"do,omitempty"`
	// Bindings are its places on load balancers.
	Bindings []BindingExplanation `json:"bindings,omitempty"`
}

// BindingExplanation is one place of a pod.
type BindingExplanation struct {
	// Name says which: "Service default/nginx port TCP/80".
	Name string `json:"name"`
	// State is how far it has come: Unreachable, NoPort, Refused, Making or Listening.
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Address of the pod there.
	Address string `json:"address,omitempty"`
	// Weight as observed and as it should be, -1 for not bound.
	Weight int `json:"weight"`
	Wanted int `json:"wantedWeight"`
	// Health is what the CLB last said, Registered since when it is bound.
	Health     string    `json:"health,omitempty"`
	Registered time.Time `json:"registered,omitzero"`
}

// Text writes an explanation for a terminal.
func (e *Explanation) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s: %s\n", e.Kind, e.Namespace, e.Name, e.Summary)
	if e.Do != "" {
		fmt.Fprintf(&b, "  do: %s\n", e.Do)
	}
	if e.LoadBalancer != "" {
		fmt.Fprintln(&b, "  load balancer", strings.TrimSpace(e.LoadBalancer+" "+strings.Join(e.Addresses, ", ")))
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "  problem: %s\n", p)
	}
	for _, p := range e.Pods {
		state := "not ready"
		if p.Ready {
			state = "ready"
		}
		if !p.Since.IsZero() {
			state += " since " + p.Since.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "  pod %s/%s (%s): %s\n", p.Namespace, p.Name, orNone(p.IP), state)
		if p.Cause != "" {
			fmt.Fprintf(&b, "    why: %s\n", p.Cause)
		}
		if p.Do != "" {
			fmt.Fprintf(&b, "    do:  %s\n", p.Do)
		}
		if len(p.Undrained) > 0 {
			fmt.Fprintf(&b, "    not drained before SIGTERM: %s (a preStop hook of its own, no time for one, clb-direct.io/drain-timeout \"0\", or created while the webhook was away)\n", strings.Join(p.Undrained, ", "))
		}
		for _, x := range p.Bindings {
			fmt.Fprintf(&b, "    %s: %s\n", x.Name, x.text())
		}
	}
	return b.String()
}

// text is what a line says of a place.
func (x BindingExplanation) text() string {
	switch {
	case x.Detail != "":
		return x.Detail
	case x.Weight < 0:
		return "not bound"
	}
	since := ""
	if !x.Registered.IsZero() {
		since = " since " + x.Registered.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s bound%s, weight %d of %d, health %s", x.Address, since, x.Weight, x.Wanted, orNone(x.Health))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
