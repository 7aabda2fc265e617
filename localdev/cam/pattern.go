package cam

import (
	"fmt"
	"strings"
)

// parts is how many a resource has: qcs:project:service:region:account:resource (CAM,
// "Resource Description Method").
const parts = 6

// pattern is a resource as statements describe it: its parts, or nil for "*", which is
// every resource and none in particular.
type pattern []string

func newPattern(text string) (pattern, error) {
	if text == "*" {
		return nil, nil
	}
	p := strings.SplitN(text, ":", parts)
	switch {
	case len(p) != parts || p[0] != "qcs" || p[5] == "":
		return nil, fmt.Errorf("the resource %q is neither * nor qcs::service:region:account:resource", text)
	case p[1] != "":
		return nil, fmt.Errorf("the resource %q names a project, which version 2.0 forbids", text)
	}
	return p, nil
}

// describes tells whether a resource is one of the pattern's. An empty part stands for
// all: services, regions, and resources of the account that the policy is of, which is
// the only one that there is.
func (p pattern) describes(resource string) bool {
	if p == nil {
		return true
	}
	of := strings.SplitN(resource, ":", parts)
	if len(of) != parts {
		return false // "*", of an operation-level action
	}
	for i, part := range p {
		if part != "" && !like(part, of[i]) {
			return false
		}
	}
	return true
}

// like matches a text with a pattern in which * is any number of characters.
func like(pattern, text string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, head)
	if !ok {
		return false
	}
	for {
		middle, after, found := strings.Cut(rest, "*")
		if !found {
			return strings.HasSuffix(text, rest)
		}
		// The first place is the best one: it leaves the most for what comes after.
		at := strings.Index(text, middle)
		if at < 0 {
			return false
		}
		text, rest = text[at+len(middle):], after
	}
}
