package model

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Annotations and conditions of a pod that is drained before its containers are
// told to end.
const (
	// DrainToken is the secret of a pod's preStop hook: who knows it may have the pod
	// drained.
	DrainToken = "clb-direct.io/drain-token"
	// DrainTimeout is how many seconds the hook may hold a container at most; "0" gives
	// a pod no hook.
	DrainTimeout = "clb-direct.io/drain-timeout"
	// DrainDelay is how many seconds more the hook holds a container once the load
	// balancer sends nothing new: what connections have to end in.
	DrainDelay = "clb-direct.io/drain-delay"
	// DrainingType is the pod condition by which backends notes, before it drains, which
	// containers are about to end. A condition, as the right to write annotations of
	// pods is one to change their images too.
	DrainingType = "clb-direct.io/draining"
	// DrainedType is the pod condition that is True while every load balancer has taken
	// the pod's weights to 0 for a drain.
	DrainedType = "clb-direct.io/drained"
)

// AdmissionLabel on a pod, with the value AdmissionOff, keeps our webhook away from it.
const (
	AdmissionLabel = "clb-direct.io/admission"
	AdmissionOff   = "off"
)

// DrainPath is where drain hooks lead: namespace, token and container follow.
const DrainPath = "/drain/"

// drainSlack is how long past a pod's grace period a container that was to end may go
// on before it counts as one that stays.
const drainSlack = time.Minute

// Drain is the mark that a container is about to end.
type Drain struct {
	// ID is the container's: its successor is another one.
	ID string
	// At is when it was marked, in whole milliseconds.
	At time.Time
}

// FormatDrains writes marks, by container name, as the message of DrainingType:
//
//	app containerd://1f6c 2026-01-02T15:04:05.678Z, proxy containerd://93aa 2026-01-02T15:04:06.012Z
func FormatDrains(drains map[string]Drain) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(drains)) {
		out = append(out, name+" "+drains[name].ID+" "+drains[name].At.UTC().Format(drainTime))
	}
	return strings.Join(out, ", ")
}

const drainTime = "2006-01-02T15:04:05.000Z07:00"

// ParseDrains reads what FormatDrains wrote; what can't be read is left out.
func ParseDrains(message string) map[string]Drain {
	var out map[string]Drain
	for part := range strings.SplitSeq(message, ", ") {
		words := strings.Split(part, " ")
		if len(words) != 3 {
			continue
		}
		at, err := time.Parse(drainTime, words[2])
		if err != nil {
			continue
		}
		if out == nil {
			out = map[string]Drain{}
		}
		out[words[0]] = Drain{ID: words[1], At: at}
	}
	return out
}

// DrainedUntil tells until when a mark keeps the pod's weights at 0: while a container
// that has one is the one that was marked, but not for ever. Zero: no mark does.
func (p *Pod) DrainedUntil(now time.Time) time.Time {
	var until time.Time
	for name, d := range p.Drains {
		end := d.At.Add(p.Grace + drainSlack)
		if p.Containers[name] == d.ID && now.Before(end) && end.After(until) {
			until = end
		}
	}
	return until
}

// Marked tells whether the container with that id has its mark.
func (p *Pod) Marked(name, id string) bool {
	d, ok := p.Drains[name]
	return ok && d.ID == id
}
