package serverless

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

const accepted = "accepted are: a CloudEvent 1.0"

// binary are the headers of a CloudEvent in binary mode, and its body.
func binary(t *testing.T, structured []byte) (map[string]string, []byte) {
	t.Helper()
	var e map[string]json.RawMessage
	if err := json.Unmarshal(structured, &e); err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{"content-type": "application/json"}
	for name, raw := range e {
		if name == "data" || name == "datacontenttype" {
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
		headers["ce-"+name] = value
	}
	return headers, e["data"]
}

// sample is a payload as the platform's pages show it.
func sample(t *testing.T, name string) []byte { return []byte(read(t, "shared/event/testdata/"+name)) }

// firing is one way to hand a function something, and what comes of it.
type firing struct {
	reason string
	fire   func(p *platform, f event.Function, own []byte) answer
	// replies is how many there are; without one, refusal is in what the function says, or
	// code what the API does.
	replies int
	refusal string
	code    string
	// status is the HTTP response's, of a function URL.
	status int
	// asks tells that explain, which is asked nothing, refuses.
	asks bool
}

// TestEveryTriggerReachesEveryFunction: what a trigger hands over is taken, or refused
// for good in words that help.
func TestEveryTriggerReachesEveryFunction(t *testing.T) {
	structured := map[string]string{"content-type": event.ContentType}
	batched := map[string]string{"content-type": event.BatchContentType}
	twice := func(payload []byte) []byte { return fmt.Appendf(nil, "[%s,%s]", payload, payload) }

	cases := map[string]firing{
		"Timer": {
			reason: "A timer has a function look at everything.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.pending(p.FireTimer(string(f), "resync"))
			},
			replies: 1, asks: true,
		},
		"URLStructured": {
			reason: "A function URL takes one event.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.request(f, "POST", secret, structured, own)
			},
			replies: 1, status: http.StatusOK,
		},
		"URLBatched": {
			reason: "And a batch.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.request(f, "POST", secret, batched, twice(own))
			},
			replies: 2, status: http.StatusOK,
		},
		"URLBinary": {
			reason: "And one in headers.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				headers, body := binary(p.t, own)
				return p.request(f, "POST", secret, headers, body)
			},
			replies: 1, status: http.StatusOK,
		},
		"URLStranger": {
			reason: "Of nobody without the secret.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.request(f, "POST", "guess", structured, own)
			},
			refusal: event.SignatureHeader, status: http.StatusUnauthorized,
		},
		"URLGarbage": {
			reason: "Anything else is the sender's mistake.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.request(f, "POST", secret, structured, []byte("{{{"))
			},
			refusal: "payload", status: http.StatusBadRequest,
		},
		"URLHello": {
			reason: "And is told what is taken.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.request(f, "POST", secret, structured, sample(p.t, "console_hello.json"))
			},
			refusal: accepted, status: http.StatusBadRequest,
		},
		"URLGet": {
			reason:  "As is a browser.",
			fire:    func(p *platform, f event.Function, _ []byte) answer { return p.request(f, "GET", secret, nil, nil) },
			refusal: "httpMethod", status: http.StatusBadRequest,
		},
		"InvokeFunction": {
			reason:  "The API hands over the event itself.",
			fire:    func(p *platform, f event.Function, own []byte) answer { return p.invokeFunction(f, own) },
			replies: 1,
		},
		"InvokeFunctionBatch": {
			reason:  "Or a batch.",
			fire:    func(p *platform, f event.Function, own []byte) answer { return p.invokeFunction(f, twice(own)) },
			replies: 2,
		},
		"Invoke": {
			reason:  "The older action does so too.",
			fire:    func(p *platform, f event.Function, own []byte) answer { return p.invoke(f, "RequestResponse", own) },
			replies: 1,
		},
		"InvokeEvent": {
			reason:  "Also when nobody waits.",
			fire:    func(p *platform, f event.Function, own []byte) answer { return p.invoke(f, "Event", own) },
			replies: 1,
		},
		"CKafka": {
			reason: "Each record of a topic is an event.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.topic(f, scf.Message{Key: "lb-example", Body: string(own)}, scf.Message{Body: string(own)})
			},
			replies: 2,
		},
		"CKafkaPartitions": {
			reason: "Its partitions are read side by side.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.topic(f, scf.Message{Body: string(own)}, scf.Message{Partition: 1, Body: string(own)})
			},
			replies: 2,
		},
		"CKafkaGarbage": {
			reason:  "A value that isn't one is told, with its place.",
			fire:    func(p *platform, f event.Function, _ []byte) answer { return p.topic(f, scf.Message{Body: "hello"}) },
			refusal: "Records[0].Ckafka.msgBody",
		},
		"EventBridge": {
			reason: "An audit event says where to look.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.pending(p.FireEventBridge(string(f), sample(p.t, "eventbridge_audit.json")))
			},
			replies: 1, asks: true,
		},
		"EventBridgeList": {
			reason: "So does a list of them.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				one := sample(p.t, "eventbridge_audit.json")
				return p.pending(p.FireEventBridgeList(string(f), one, one))
			},
			replies: 1, asks: true,
		},
		"EventBridgeNone": {
			reason: "An empty list says nothing.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.pending(p.FireEventBridgeList(string(f)))
			},
			refusal: accepted,
		},
		"Console": {
			reason:  "Every function has a test event of its own.",
			fire:    func(p *platform, f event.Function, own []byte) answer { return p.console(f, own) },
			replies: 1,
		},
		"ConsoleOther": {
			reason: "That of another function is refused.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				other := all[(slices.Index(all, f)+1)%len(all)]
				return p.console(f, testEvents[other])
			},
			refusal: "type",
		},
		"ConsoleUnedited": {
			reason: "And one for another cluster.",
			fire: func(p *platform, f event.Function, own []byte) answer {
				return p.console(f, []byte(strings.ReplaceAll(string(own), cluster, "cls-other")))
			},
			refusal: "data.cluster",
		},
		"ConsoleHello": refused("The console's first template.", func(t *testing.T) []byte { return sample(t, "console_hello.json") }),
		"ConsoleCOS":   refused("Its template of an object store's event.", func(t *testing.T) []byte { return sample(t, "cos.json") }),
		"ConsoleCLS":   refused("And of a log's.", func(t *testing.T) []byte { return sample(t, "cls.json") }),
		"EmptyObject":  refused("An event is optional, and then empty.", payload("{}")),
		"EmptyArray":   refused("A batch of nothing.", payload("[]")),
		"Null":         refused("Nothing.", payload("null")),
		"Number":       refused("A number.", payload("42")),
		"Text":         refused("A string.", payload(`"hello"`)),
		"Records":      refused("Records of nothing.", payload(`{"Records":[]}`)),
		"Nested": {
			reason:  "An array of arrays.",
			fire:    func(p *platform, f event.Function, _ []byte) answer { return p.console(f, []byte("[[[]]]")) },
			refusal: "event 0: payload",
		},
		"Strange": {
			reason: "The right keys with the wrong values.",
			fire: func(p *platform, f event.Function, _ []byte) answer {
				return p.console(f, []byte(`{"httpMethod":[],"headers":1,"Records":{},"EventList":7,"specversion":{}}`))
			},
			refusal: "payload",
		},
		"NotJSON": {
			reason: "The platform itself refuses what isn't JSON.",
			fire:   func(p *platform, f event.Function, _ []byte) answer { return p.invokeFunction(f, []byte("{{{")) },
			code:   "InvalidParameterValue.Param",
		},
	}

	p := deploy(t)
	for name, tc := range cases {
		for _, f := range all {
			t.Run(name+"/"+string(f), func(t *testing.T) {
				q := *p
				q.t = t
				got := tc.fire(&q, f, testEvents[f])
				if tc.asks && f == event.Explain {
					tc.replies, tc.refusal = 0, "asks nothing"
				}
				if len(got.replies) != tc.replies || got.code != tc.code || got.status != tc.status {
					t.Fatalf("%s\ngot %+v, want %d replies, status %d, code %q", tc.reason, got, tc.replies, tc.status, tc.code)
				}
				if (got.refusal == "") != (tc.refusal == "") || !strings.Contains(got.refusal, tc.refusal) {
					t.Errorf("%s\nrefused with %q, want %q", tc.reason, got.refusal, tc.refusal)
				}
				for _, r := range got.replies {
					// The cluster can't be reached, which is nobody's mistake for good.
					if r.Failure == nil || r.Failure.Kind != fault.Transient {
						t.Errorf("%s\nreplied %+v, want a failure that is worth another try", tc.reason, r)
					}
				}
			})
		}
	}
	p.expectNoInstanceLost()
}

func payload(text string) func(*testing.T) []byte {
	return func(*testing.T) []byte { return []byte(text) }
}

// refused is the case of a payload that every function refuses, saying what it takes.
func refused(reason string, payload func(*testing.T) []byte) firing {
	return firing{
		reason:  reason,
		fire:    func(p *platform, f event.Function, _ []byte) answer { return p.console(f, payload(p.t)) },
		refusal: accepted,
	}
}

// topic hands the function messages of a topic and adds up what it says.
func (p *platform) topic(f event.Function, messages ...scf.Message) answer {
	p.t.Helper()
	outcomes, err := p.FireCKafka(p.t.Context(), string(f), "clb-direct", messages...)
	if err != nil {
		p.t.Fatal(err)
	}
	var sum answer
	for _, o := range outcomes {
		a := p.outcome(o)
		sum.replies, sum.refusal = append(sum.replies, a.replies...), sum.refusal+a.refusal
	}
	return sum
}

// expectNoInstanceLost: whatever came, no process ended.
func (p *platform) expectNoInstanceLost() {
	p.t.Helper()
	seen := map[int]bool{}
	for _, i := range p.Invocations() {
		if i.PID == 0 || seen[i.PID] {
			continue
		}
		seen[i.PID] = true
		if err := syscall.Kill(i.PID, 0); err != nil {
			p.t.Errorf("process %d of %s has ended: %v", i.PID, i.Key, err)
		}
	}
	if len(seen) < len(all) {
		p.t.Errorf("%d processes ran, for %d functions", len(seen), len(all))
	}
}
