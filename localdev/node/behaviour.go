package node

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AnnotationPrefix precedes the annotations that steer the application in a
// pod's containers. "<prefix><key>.<container>" overrides "<prefix><key>" for
// one container.
const AnnotationPrefix = "app.localdev.clb-direct.io/"

// The annotations, without their prefix. Durations are Go's ("1.5s"), switches
// "true" or "false". A value that can't be read is named in an Event and taken
// as absent.
const (
	// KeyStartDelay is the time from the pod's address to the container's start:
	// a slow image. Read when the container starts.
	KeyStartDelay = "start-delay"
	// KeyReadyDelay is the time from the container's start until the application
	// is ready. Until then the paths of its readiness and startup probes answer
	// 503. Read when the container starts.
	KeyReadyDelay = "ready-delay"
	// KeyOpenBeforeReady says whether the ports are open before the application
	// is ready (default true). Read when the container starts.
	KeyOpenBeforeReady = "open-before-ready"
	// KeyFailProbe makes probes fail: a list of readiness, liveness, startup, or
	// "true" for all of them, and for all ports of a container without probes.
	// The path of an HTTP probe answers 503, the port of a TCP probe is closed.
	// It may be changed while the pod runs.
	KeyFailProbe = "fail-probe"
	// KeyExitAfter is the time from its start after which the container exits.
	KeyExitAfter = "exit-after"
	// KeyExitCode is the code it then exits with (default 1).
	KeyExitCode = "exit-code"
	// KeyIgnoreSIGTERM makes the application go on as if nothing happened after
	// SIGTERM. It may be changed while the pod runs.
	KeyIgnoreSIGTERM = "ignore-sigterm"
	// KeyResponseDelay passes between a request and its answer. It may be changed
	// while the pod runs.
	KeyResponseDelay = "response-delay"
)

// behaviour is what the annotations say about one container.
type behaviour struct {
	startDelay      time.Duration // negative: not said
	readyDelay      time.Duration
	openBeforeReady bool
	failProbe       map[probeKind]bool
	failAll         bool
	exitAfter       time.Duration // 0: never
	exitCode        int32
	ignoreSIGTERM   bool
	responseDelay   time.Duration
}

// readBehaviour reads the annotations for a container. Each value that can't be
// read gives a complaint naming it; the default is in its place.
func readBehaviour(annotations map[string]string, container string) (behaviour, []string) {
	b := behaviour{startDelay: -1, openBeforeReady: true, exitCode: 1, failProbe: map[probeKind]bool{}}
	var complaints []string
	read := func(key string, parse func(string) error) {
		name := AnnotationPrefix + key + "." + container
		value, ok := annotations[name]
		if !ok {
			name = AnnotationPrefix + key
			if value, ok = annotations[name]; !ok {
				return
			}
		}
		if err := parse(value); err != nil {
			complaints = append(complaints, fmt.Sprintf("annotation %s: %v", name, err))
		}
	}
	read(KeyStartDelay, duration(&b.startDelay))
	read(KeyReadyDelay, duration(&b.readyDelay))
	read(KeyOpenBeforeReady, boolean(&b.openBeforeReady))
	read(KeyFailProbe, b.readFailProbe)
	read(KeyExitAfter, duration(&b.exitAfter))
	read(KeyExitCode, exitCode(&b.exitCode))
	read(KeyIgnoreSIGTERM, boolean(&b.ignoreSIGTERM))
	read(KeyResponseDelay, duration(&b.responseDelay))
	return b, complaints
}

func (b *behaviour) readFailProbe(value string) error {
	fail := map[probeKind]bool{}
	all := false
	for word := range strings.SplitSeq(value, ",") {
		switch word = strings.TrimSpace(word); {
		case word == "true":
			all = true
		case word == "false" || word == "":
		case slices.Contains(probeKinds, probeKind(word)):
			fail[probeKind(word)] = true
		default:
			return fmt.Errorf("%q is not readiness, liveness, startup, true or false", word)
		}
	}
	b.failProbe, b.failAll = fail, all
	return nil
}

// fails says whether probes of a kind are to fail.
func (b *behaviour) fails(kind probeKind) bool { return b.failAll || b.failProbe[kind] }

func duration(to *time.Duration) func(string) error {
	return func(value string) error {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 1.5s", value)
		}
		if d < 0 {
			return fmt.Errorf("%q is negative", value)
		}
		*to = d
		return nil
	}
}

func boolean(to *bool) func(string) error {
	return func(value string) error {
		switch value {
		case "true":
			*to = true
		case "false":
			*to = false
		default:
			return fmt.Errorf("%q is not true or false", value)
		}
		return nil
	}
}

func exitCode(to *int32) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return fmt.Errorf("%q is not an exit code from 0 to 255", value)
		}
		*to = int32(n)
		return nil
	}
}
