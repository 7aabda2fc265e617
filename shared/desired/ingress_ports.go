package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// port is a listener of an Ingress.
type port struct {
	protocol model.Protocol
	number   int
	name     string
}

// key is what the listener is recorded under.
func (p port) key() string { return PortKey(p.protocol, p.number) }

// The ports of an Ingress that says nothing of them (457/40675).
var (
	plainPort  = port{protocol: model.HTTP, number: 80}
	securePort = port{protocol: model.HTTPS, number: 443}
)

// decodePorts reads listen-ports: '[{"HTTP":80},{"HTTPS":443}]'. An entry that can't be a
// listener is complained about and keeps no other out.
func decodePorts(raw string) (ports []port, problems []Problem) {
	var entries []json.RawMessage
	if err := json.Unmarshal([]byte(raw), &entries); err != nil {
		return nil, []Problem{{Field: ListenPorts, Message: `must be a JSON list like [{"HTTP":80},{"HTTPS":443}]: ` + err.Error()}}
	}
	taken := map[int]bool{}
	for i, entry := range entries {
		field := fmt.Sprintf("%s[%d]", ListenPorts, i)
		refuse := func(format string, args ...any) {
			problems = append(problems, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
		}
		var numbers map[string]int
		if err := json.Unmarshal(entry, &numbers); err != nil || len(numbers) == 0 {
			refuse(`is %s, must be like {"HTTP":80}`, entry)
			continue
		}
		for _, written := range slices.Sorted(maps.Keys(numbers)) {
			p := port{protocol: model.Protocol(strings.ToUpper(written)), number: numbers[written]}
			switch {
			case !p.protocol.Layer7():
				refuse("is of protocol %q, must be HTTP or HTTPS", written)
			case p.number < 1 || p.number > 65535:
				refuse("is port %d, must be 1 to 65535", p.number)
			case taken[p.number]:
				refuse("is port %d, which an earlier entry has: HTTP and HTTPS share the ports of TCP", p.number)
			default:
				taken[p.number] = true
				ports = append(ports, p)
			}
		}
	}
	return ports, problems
}

// groupID is what may stand in a listener's name for its CLB: no "_", and no longer than
// the UID that stands there otherwise, so that MaxClusterID holds.
var groupID = regexp.MustCompile(`^[A-Za-z0-9-]{1,36}$`)

// owner is what the names of the Ingress's listeners carry: its UID, or the CLB's id where
// the listeners are shared by a group, which is then the same in all of them.
func (r *router) owner() string {
	if !r.on(EnableGroup) {
		return r.ing.UID
	}
	switch id := r.ing.Annotations[IngressExistingLB]; {
	case id == "":
		r.problem(Problem{Field: EnableGroup, Message: fmt.Sprintf("needs an existing load balancer, named by %s; the Ingress gets listeners of its own", IngressExistingLB)})
	case !groupID.MatchString(id):
		r.problem(Problem{Code: "E4098", Field: IngressExistingLB, Message: fmt.Sprintf("is %q, must be the id of a load balancer, like lb-12345678", id)})
	default:
		return id
	}
	return r.ing.UID
}

// mode is how rules are spread over the listeners.
type mode struct {
	// mix: rules go where http-rules and https-rules say. Else each goes everywhere.
	mix bool
	// both: everywhere is HTTP and HTTPS.
	both bool
	// redirects are allowed; auto: every rule at HTTPS gets one at HTTP.
	redirects, auto bool
}

// modes reads the annotations, and what they exclude.
func (r *router) modes() (m mode) {
	m.mix, m.both = r.on(RuleMix), r.on(RuleMixBoth)
	m.redirects, m.auto = r.on(RewriteSupport), r.on(AutoRewrite)
	if m.auto && !m.redirects {
		m.auto = false
		r.problem(Problem{Field: AutoRewrite, Message: fmt.Sprintf("has no effect without %s: \"true\"", RewriteSupport)})
	}
	for _, other := range []struct {
		on  bool
		key string
	}{{m.mix, RuleMix}, {m.redirects, RewriteSupport}} {
		if m.both && other.on {
			m.both = false
			r.problem(Problem{Field: RuleMixBoth, Message: fmt.Sprintf("has no effect together with %s", other.key)})
		}
	}
	return m
}

// listeners decides which listeners there are: those listed, or HTTP at 80 and HTTPS at
// 443, as far as there is something for them. Redirects bring the HTTP one along.
func (r *router) listeners() {
	if raw, ok := r.ing.Annotations[ListenPorts]; ok {
		listed, problems := decodePorts(raw)
		r.unreadableIn(ListenPorts, problems)
		for _, p := range listed {
			r.listed = append(r.listed, r.listen(p))
		}
	}
	if len(r.listed) == 0 {
		secure := len(r.ing.TLS) > 0
		plain := !secure
		if r.mode.mix {
			plain, secure = plain || len(r.plain.entries) > 0, secure || len(r.secure.entries) > 0
		}
		if plain || r.mode.both {
			r.listed = append(r.listed, r.listen(plainPort))
		}
		if secure || r.mode.both {
			r.listed = append(r.listed, r.listen(securePort))
		}
	}
	if r.mode.auto && len(r.at(model.HTTPS)) == 0 {
		r.mode.auto = false
		r.problem(Problem{Field: AutoRewrite, Message: "has nothing to redirect to: the Ingress has no HTTPS listener"})
	}
	if r.mode.auto || r.mode.redirects && r.plain.redirects() {
		r.redirectFrom()
	}
}

// listen wants a listener at p.
func (r *router) listen(p port) port {
	p.name = ListenerName(r.policy.Cluster, r.carries, p.protocol, p.number)
	l := model.WantedListener{Name: p.name, Protocol: p.protocol, Port: p.number, Owner: &r.ing.Front, Key: p.key()}
	l.KeepAlive = r.src.Config.layer7(p).KeepAlive
	r.w.Listeners = append(r.w.Listeners, l)
	return p
}

// at are the listed listeners of a protocol.
func (r *router) at(protocol model.Protocol) (out []port) {
	for _, p := range r.listed {
		if p.protocol == protocol {
			out = append(out, p)
		}
	}
	return out
}

// usual picks of several ports the one that clients use who name none.
func usual(ports []port, number int) port {
	for _, p := range ports {
		if p.number == number {
			return p
		}
	}
	return ports[0]
}

// redirectFrom finds the HTTP listener that redirects start from, and makes one where
// there is none.
func (r *router) redirectFrom() {
	if plain := r.at(model.HTTP); len(plain) > 0 {
		p := usual(plain, plainPort.number)
		r.redirect = &p
		return
	}
	for _, p := range r.listed {
		if p.number == plainPort.number {
			r.mode.auto, r.mode.redirects = false, false
			r.problem(Problem{Field: ListenPorts, Message: fmt.Sprintf("lists no HTTP port, and %s has the usual one: there is nothing to redirect from", p.key())})
			return
		}
	}
	p := r.listen(plainPort)
	r.redirect = &p
}
