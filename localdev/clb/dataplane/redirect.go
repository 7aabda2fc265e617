package dataplane

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// location is where to sends a request. A wildcard for a host is no host.
func (to *Redirect) location(r *http.Request) string {
	host := to.Host
	if host == "" || strings.Contains(host, "*") {
		host = hostOf(r.Host)
	}
	usual := map[string]int{"http": 80, "https": 443}[to.Scheme]
	switch {
	case to.Port != 0 && to.Port != usual:
		host = net.JoinHostPort(host, strconv.Itoa(to.Port))
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	_, path := splitURL(to.Path)
	if to.TakeURL || path == "" {
		path = r.URL.RequestURI()
	}
	return to.Scheme + "://" + host + path
}

// slashLocation is the request's own address with a slash at the path's end.
func slashLocation(r *http.Request) string {
	url := *r.URL
	url.Path += "/"
	if url.RawPath != "" {
		url.RawPath += "/"
	}
	return scheme(r) + "://" + r.Host + url.RequestURI()
}

// scheme is how the client reached the load balancer.
func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// answer is what the load balancer says itself.
func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// The client may have gone.
	_, _ = io.WriteString(w, strconv.Itoa(status)+" "+http.StatusText(status)+"\n")
}
