package desired

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TKE's codes of rules that can't be had (457/81004).
const (
	codeServiceMissing = "W1000"
	codePath           = "E4031"
	codeHost           = "E4052"
	codeNoSelector     = "E4082"
)

// router turns an Ingress into listeners and rules.
type router struct {
	ing    *model.Ingress
	src    Sources
	policy Policy
	// carries is the owner in the names of the listeners.
	carries       string
	mode          mode
	plain, secure mixRules
	// listed are the listeners that rules go to, redirect the HTTP one that redirects
	// start from, nil when there are none.
	listed   []port
	redirect *port
	certs    certificates
	// sites are the hosts with rules, by listener.
	sites map[port][]site
	// taken are the places that some rule has, redirecting those of redirects, wanted
	// the rules with backends that can be had, refused those without a certificate.
	taken, redirecting, wanted map[model.Spot]bool
	refused                    map[model.Spot]string
	// unreadable are rules whose host or path can't be a CLB's.
	unreadable []route
	w          Wants
}

// site is a host, and where the Ingress first names it.
type site struct{ host, field string }

// route is a rule on its way to its places.
type route struct {
	site
	field, path string
	service     *model.Service
	port        model.ServicePort
	broken      string
	ports       []port
}

// ingressWants computes listeners, rules and backings of an Ingress:
//
//	rule of the spec     a place at each listener it goes to, in order; of two with one
//	                     host and path the first
//	default backend      "/" without a host, and of every host that has no "/"
//	redirect, by hand    where nothing of the above is
//	redirect, automatic  of every place at HTTPS, where nothing of the above is
//
// Where the places are depends on the Ingress alone; whether there can be rules at them
// also on its Services (Backing.Broken) and secrets (Wants.Refused).
func ingressWants(ing *model.Ingress, src Sources, p Policy) Wants {
	r := &router{
		ing: ing, src: src, policy: p, sites: map[port][]site{},
		taken: map[model.Spot]bool{}, redirecting: map[model.Spot]bool{}, wanted: map[model.Spot]bool{}, refused: map[model.Spot]string{},
	}
	r.carries = r.owner()
	r.mode = r.modes()
	r.plain = r.mixed(HTTPRules, codeHTTPRules)
	r.secure = r.mixed(HTTPSRules, codeHTTPSRules)
	r.certs = r.certificates()
	r.listeners()
	r.rules()
	r.fallback()
	if r.mode.mix {
		r.problem(r.plain.unused()...)
		r.problem(r.secure.unused()...)
	}
	r.redirects()
	r.twins()
	for _, rt := range r.unreadable {
		r.put(rt) // last, so that what means nothing takes no place from what does
	}
	r.defaultServers()
	return r.w
}

// problem notes what is wrong, each thing once.
func (r *router) problem(problems ...Problem) {
	for _, p := range problems {
		if !slices.Contains(r.w.Problems, p) {
			r.w.Problems = append(r.w.Problems, p)
		}
	}
}

// on reads a boolean annotation.
func (r *router) on(key string) bool {
	on, problem := Bool(r.ing.Annotations, key)
	if problem != nil {
		r.problem(*problem)
	}
	return on
}

// unreadableIn notes what is wrong with an annotation. One that can't be read as a whole
// says nothing about what was meant: what is there stays.
func (r *router) unreadableIn(annotation string, problems []Problem) {
	r.problem(problems...)
	r.w.Unreadable = r.w.Unreadable || slices.ContainsFunc(problems, func(p Problem) bool { return p.Field == annotation })
}

func (r *router) mixed(annotation, code string) mixRules {
	m, problems := decodeMix(r.ing.Annotations[annotation], annotation, code)
	r.unreadableIn(annotation, problems)
	return m
}

// rules finds the places of the spec's rules.
func (r *router) rules() {
	for _, rule := range r.ing.Rules {
		rt := route{site: site{strings.ToLower(rule.Host), hostField(rule.Field)}, field: rule.Field}
		written := cmp.Or(rule.Path, "/")
		rt.path = clbPath(written, rule.PathType)
		rt.ports = r.spread(rt.host, written, rule.Backend)
		if problem := cmp.Or(hostProblem(rt.site.field, rt.host), pathProblem(rt.field, written, rule.PathType)); problem != (Problem{}) {
			r.problem(problem)
			rt.broken = "its host or path can't be a CLB's, see the Ingress's Events"
			r.unreadable = append(r.unreadable, rt)
			continue
		}
		r.resolve(&rt, rt.field+".backend", rule.Backend)
		for _, p := range rt.ports {
			if !slices.ContainsFunc(r.sites[p], func(s site) bool { return s.host == rt.host }) {
				r.sites[p] = append(r.sites[p], rt.site)
			}
		}
		if !r.put(rt) {
			r.problem(Problem{Field: rt.field, Message: fmt.Sprintf("is of host %q and path %q, like an earlier rule, which has them", rt.host, written)})
		}
	}
}

// fallback finds the places of the default backend. It is silent where a rule of the
// spec has one of them: that serves everything there.
func (r *router) fallback() {
	if r.ing.Default == nil {
		return
	}
	const field = "spec.defaultBackend"
	rt := route{site: site{"", field}, field: field, path: "/"}
	r.resolve(&rt, field, *r.ing.Default)
	for _, p := range r.spread("", "/", *r.ing.Default) {
		rt.ports = []port{p}
		rt.site = site{"", field}
		r.put(rt)
		for _, rt.site = range r.sites[p] {
			r.put(rt)
		}
	}
}

// resolve finds the Service and port that a rule means.
func (r *router) resolve(rt *route, field string, b model.IngressBackend) {
	refuse := func(broken string, p Problem) {
		rt.broken = broken + ", see the Ingress's Events"
		r.problem(p)
	}
	if b.Resource {
		refuse("its backend is no Service", Problem{Field: field + ".resource", Message: "names an object that is no Service, a CLB serves pods of Services only"})
		return
	}
	svc := r.src.Services[b.Service]
	name := model.Ref{Namespace: r.ing.Namespace, Name: b.Service}
	if svc == nil {
		refuse(fmt.Sprintf("its Service %s is not there", name), Problem{Code: codeServiceMissing, Field: field + ".service.name", Message: fmt.Sprintf("Service %s is not there", name)})
		return
	}
	if len(svc.Selector) == 0 || svc.Type == "ExternalName" {
		refuse(fmt.Sprintf("its Service %s selects no pods", name), Problem{Code: codeNoSelector, Field: field + ".service.name", Message: fmt.Sprintf("Service %s selects no pods: without a selector, or of type ExternalName, it can't be served directly", name)})
		return
	}
	rt.service = svc
	sp, message := backendPort(svc, b)
	if message != "" {
		refuse(fmt.Sprintf("its Service %s has no such port", name), Problem{Field: field + ".service.port", Message: message})
		return
	}
	rt.port = sp
}

// backendPort finds the port of svc that b means, or says why there is none.
func backendPort(svc *model.Service, b model.IngressBackend) (found model.ServicePort, message string) {
	wanted := fmt.Sprintf("%q", b.PortName)
	if b.PortName == "" {
		wanted = fmt.Sprint(b.PortNumber)
	}
	message = fmt.Sprintf("is %s, Service %s has no such port", wanted, svc.Ref())
	for _, sp := range svc.Ports {
		if b.PortName != "" && sp.Name != b.PortName || b.PortName == "" && sp.Port != b.PortNumber {
			continue
		}
		if sp.Protocol == model.TCP {
			return sp, ""
		}
		// TCP and UDP may share a number: look on.
		message = fmt.Sprintf("is %s, of Service %s, whose protocol is %s; HTTP needs TCP", wanted, svc.Ref(), sp.Protocol)
	}
	return model.ServicePort{}, message
}

// put makes the places of a rule, as far as they are free, and tells whether all were.
func (r *router) put(rt route) bool {
	all := true
	for _, p := range rt.ports {
		b := r.backing(p, rt.host, rt.path)
		if r.taken[b.Spot] {
			all = false
			continue
		}
		b.Service, b.Port, b.Broken = rt.service, rt.port, rt.broken
		r.claim(b)
		if b.Broken == "" && r.want(p, b, rt.site.field, nil) {
			r.wanted[b.Spot] = true
		}
	}
	return all
}

// backing describes a place at p.
func (r *router) backing(p port, host, path string) Backing {
	key := RuleKey(p.protocol, p.number, host, path)
	return Backing{
		Spot: model.Spot{Listener: p.name, Domain: host, Path: path}, Front: &r.ing.Front, Key: key,
		Name: fmt.Sprintf("%s rule %s", &r.ing.Front, key),
	}
}

// claim takes a place.
func (r *router) claim(b Backing) {
	r.taken[b.Spot] = true
	r.w.Backings = append(r.w.Backings, b)
}

// want wants a rule at a place, unless its host has no certificate.
func (r *router) want(p port, b Backing, hostField string, redirect *model.WantedRedirect) bool {
	rule := model.WantedRule{Spot: b.Spot, Redirect: redirect, Owner: b.Front, Key: b.Key}
	domain := r.src.Config.layer7(p).Domains[b.Domain]
	if p.protocol == model.HTTPS {
		cert, code := r.certs.of(b.Domain)
		if code == codeNoCertificate {
			r.problem(Problem{Code: code, Field: hostField, Message: fmt.Sprintf("host %q has no certificate: spec.tls names it nowhere and has no entry for all hosts", b.Domain)})
		}
		if code != "" {
			r.refuse(b, code)
			return false
		}
		rule.Certificate, rule.HTTP2 = cert, domain.HTTP2
	}
	if redirect == nil {
		rule.Settings = domain.rule(b.Path)
	}
	r.w.Rules = append(r.w.Rules, rule)
	return true
}

// refuse notes that there can be no rule at a place for want of a certificate.
func (r *router) refuse(b Backing, code string) {
	if r.w.Refused == nil {
		r.w.Refused = map[string]string{}
	}
	r.w.Refused[b.Key], r.refused[b.Spot] = code, code
}

// defaultServers marks the rules of the domain that serves unknown hosts: the one that the
// TkeServiceConfig names, if the Ingress has it, else the rules without a host. Those are
// for all hosts (Kubernetes, "Ingress rules"), while a CLB's address as a domain is but
// one among others, unless it is the default.
func (r *router) defaultServers() {
	has := map[model.Spot]bool{}
	for _, rule := range r.w.Rules {
		has[model.Spot{Listener: rule.Listener, Domain: rule.Domain}] = true
	}
	named := map[string]string{}
	for _, l := range r.w.Listeners {
		p := port{protocol: l.Protocol, number: l.Port}
		if d := r.src.Config.layer7(p).DefaultServer; has[model.Spot{Listener: l.Name, Domain: d}] {
			named[l.Name] = d
		}
	}
	for i := range r.w.Rules {
		rule := &r.w.Rules[i]
		rule.DefaultServer = rule.Domain == named[rule.Listener]
	}
}

// hostField is where the host of a rule's path stands.
func hostField(field string) string {
	rule, _, _ := strings.Cut(field, ".http")
	return rule + ".host"
}

// hostPattern is TKE's, of E4052.
var hostPattern = regexp.MustCompile(`^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)

// maxHost is the longest domain of a rule (CLB API, RuleInput.Domain).
const maxHost = 80

// hostProblem tells why host can't be a rule's domain. "" is every host; an address would
// be read back as the CLB's own.
func hostProblem(field, host string) Problem {
	if host == "" {
		return Problem{}
	}
	_, err := netip.ParseAddr(host)
	if err == nil || len(host) > maxHost || !hostPattern.MatchString(host) {
		return Problem{Code: codeHost, Field: field, Message: fmt.Sprintf("is %q, must be a domain name of at most %d characters that matches %s", host, maxHost, hostPattern)}
	}
	return Problem{}
}

// pathPattern is TKE's, of E4031.
var pathPattern = regexp.MustCompile(`^/[a-zA-Z0-9./=?-]{0,119}$`)

// pathProblem tells why a rule's path can't be one of a CLB.
func pathProblem(field, path, pathType string) Problem {
	switch pathType {
	case "", "ImplementationSpecific", "Prefix", "Exact":
	default:
		return Problem{Field: field + ".pathType", Message: fmt.Sprintf("is %q, must be Exact, Prefix or ImplementationSpecific", pathType)}
	}
	if !pathPattern.MatchString(path) {
		return Problem{Code: codePath, Field: field + ".path", Message: fmt.Sprintf("is %q, must begin with /, have 1 to 120 characters, and only letters, digits and . - / = ?", path)}
	}
	return Problem{}
}

// exactly begins the path of a rule that matches nothing longer (CLB, "Layer-7 Domain
// Name Forwarding and URL Rules", 214/9032).
const exactly = "= "

// clbPath is the path in CLB's syntax. Plain ones match as the longest prefix, string by
// string: so TKE has it for Prefix too, where Kubernetes goes by whole elements ("/foo"
// isn't to match "/foobar"). A Prefix "/foo/" stays as written: to Kubernetes it is the
// same as "/foo", but a CLB sends requests for "/foo" on to "/foo/" by itself, and without
// the slash the rule would take "/foobar" as well. What TKE makes of Exact is UNCONFIRMED;
// CLB's exact match is the one thing that means it.
func clbPath(path, pathType string) string {
	if pathType == "Exact" {
		return exactly + path
	}
	return path
}
