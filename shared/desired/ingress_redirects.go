package desired

import (
	"cmp"
	"fmt"

	"github.com/clb-direct/clb-direct/shared/model"
)

// codeRedirectTaken: a redirect would stand where a rule stands (457/81004).
const codeRedirectTaken = "E4068"

// redirectCode is what redirects answer with.
const redirectCode = 301

// redirects finds the places of the redirects in http-rules and https-rules.
func (r *router) redirects() {
	plain := r.at(model.HTTP)
	if len(plain) == 0 && r.redirect != nil {
		plain = []port{*r.redirect}
	}
	r.byHand(r.plain, plain)
	r.byHand(r.secure, r.at(model.HTTPS))
}

func (r *router) byHand(m mixRules, from []port) {
	for _, e := range m.entries {
		if e.Rewrite == nil {
			continue
		}
		refuse := func(format string, args ...any) {
			r.problem(Problem{Code: m.code, Field: e.field, Message: fmt.Sprintf(format, args...)})
		}
		if !r.mode.redirects {
			refuse("has a rewrite, which needs %s: \"true\" and a port to start from", RewriteSupport)
			continue
		}
		if problem := cmp.Or(hostProblem(e.field+".host", e.Host), pathProblem(e.field, e.Path, "")); problem != (Problem{}) {
			r.problem(problem)
			continue
		}
		if len(from) == 0 {
			refuse("has a rewrite, and the Ingress no listener for it")
			continue
		}
		to, ok := r.target(*e.Rewrite)
		if !ok {
			refuse("redirects to %s of port %d, which is no rule of this Ingress that can be had, or redirects itself", model.Spot{Domain: e.Rewrite.Host, Path: e.Rewrite.Path}, e.Rewrite.Port)
		}
		for _, p := range from {
			switch b := r.backing(p, e.Host, e.Path); {
			case r.redirecting[b.Spot]:
				refuse("is of host %q and path %q, like an earlier redirect, which has them", e.Host, e.Path)
			default:
				r.send(p, b, site{e.Host, e.field}, to)
			}
		}
	}
}

// target is the rule that a redirect by hand goes to. A path is looked for as a prefix
// first, then as an exact one.
func (r *router) target(w mixRewrite) (model.Spot, bool) {
	for _, p := range r.listed {
		if p.number != w.Port {
			continue
		}
		for _, path := range []string{w.Path, exactly + w.Path} {
			if to := (model.Spot{Listener: p.name, Domain: w.Host, Path: path}); r.wanted[to] || r.refused[to] != "" {
				return to, true
			}
		}
	}
	return model.Spot{}, false
}

// twins gives every rule at HTTPS a redirect to it at HTTP.
func (r *router) twins() {
	if !r.mode.auto {
		return
	}
	main := usual(r.at(model.HTTPS), securePort.number)
	for _, to := range r.w.Backings { // as they are now: it grows
		if to.Listener != main.name || r.redirecting[to.Spot] {
			continue
		}
		b := r.backing(*r.redirect, to.Domain, to.Path)
		if r.redirecting[b.Spot] {
			continue // one by hand says more
		}
		r.send(*r.redirect, b, site{to.Domain, AutoRewrite}, to.Spot)
	}
}

// send makes a redirect at a place, unless a rule is there. Its Backing has no Service,
// so that no target stays bound where nothing is forwarded.
func (r *router) send(p port, b Backing, from site, to model.Spot) {
	if r.taken[b.Spot] {
		r.problem(Problem{Code: codeRedirectTaken, Field: from.field, Message: fmt.Sprintf("%s has a rule of its own, which stays and isn't redirected", b.Key)})
		return
	}
	r.redirecting[b.Spot] = true
	code := r.refused[to]
	if code == "" && !r.wanted[to] {
		b.Broken = "the rule it redirects to can't be had, see the Ingress's Events"
	}
	r.claim(b)
	switch {
	case b.Broken != "":
	case code != "":
		r.refuse(b, code)
	default:
		r.want(p, b, from.field, &model.WantedRedirect{To: to, Code: redirectCode})
	}
}
