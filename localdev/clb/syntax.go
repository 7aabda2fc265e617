package clb

import (
	"net/netip"
	"regexp"
	"strings"
)

// What domains and paths are made of (CLB, "Layer-7 Domain Name Forwarding and URL
// Rules"). Regular expressions are documented and not emulated.
var (
	domainName = regexp.MustCompile(`^[a-z0-9.-][a-z0-9._-]*$`)
	urlPath    = regexp.MustCompile(`^/[a-zA-Z0-9._/=?:-]*$`)
)

// checkLength is the documented range of a text's length.
func checkLength(name, text string, most int) error {
	if len(text) < 1 || len(text) > most {
		return failure("InvalidParameterValue.Length", "Length of `%s` should be in the range [1, %d], it is %d.", name, most, len(text))
	}
	return nil
}

// checkDomain checks a forwarding domain: exact, or with one * at either end.
func checkDomain(name, domain string, most int) error {
	if err := firstError(checkLength(name, domain, most), unsupported(need{name + ": a regular expression", strings.HasPrefix(domain, "~")})); err != nil {
		return err
	}
	fixed := domain
	if rest, found := strings.CutPrefix(domain, "*."); found {
		fixed = rest
	} else if rest, found := strings.CutSuffix(domain, ".*"); found {
		fixed = rest
	}
	if !domainName.MatchString(fixed) {
		return failure("InvalidParameter.FormatError", "`%s` %q should be a domain name of a-z, 0-9, '.', '-' and '_', not beginning with '_', or one with '*.' before or '.*' behind.", name, domain)
	}
	return nil
}

// checkURL checks a forwarding path: "/x", or with "=" (exact) or "^~" (prefix) before.
func checkURL(name, url string) error {
	if err := checkLength(name, url, 200); err != nil {
		return err
	}
	if err := unsupported(need{name + ": a regular expression", strings.HasPrefix(url, "~")}); err != nil {
		return err
	}
	path := url
	for _, modifier := range []string{"=", "^~"} {
		if rest, found := strings.CutPrefix(url, modifier); found {
			path = strings.TrimPrefix(rest, " ")
		}
	}
	if !urlPath.MatchString(path) {
		return failure("InvalidParameter.FormatError", "`%s` %q should begin with '/' and be of a-z, A-Z, 0-9, '.', '-', '_', '/', '=', '?' and ':'.", name, url)
	}
	return nil
}

// fixedDomain says whether a domain can be the Host of a health check.
func fixedDomain(domain string) bool {
	_, err := netip.ParseAddr(domain)
	return err == nil || domainName.MatchString(domain)
}
