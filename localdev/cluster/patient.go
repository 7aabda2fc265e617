package cluster

import (
	"errors"
	"net/http"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// patience is how long a patient client asks again, and pause how often.
const (
	patience = time.Minute
	pause    = 100 * time.Millisecond
)

// harmless are methods of requests that may have been carried out and are sent again all
// the same.
var harmless = []string{http.MethodGet, http.MethodPatch, http.MethodDelete}

// Patient gives a copy of a configuration whose requests are sent again while nobody
// listens at the API server's address, and reads, patches and deletions also when a
// connection breaks: for what has to be done although the server is being restarted.
func Patient(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return again{next} })
	return config
}

type again struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a again) RoundTrip(req *http.Request) (*http.Response, error) {
	for end := time.Now().Add(patience); ; {
		res, err := a.next.RoundTrip(req)
		if err == nil || req.Context().Err() != nil || time.Now().After(end) || !errors.Is(err, syscall.ECONNREFUSED) && !slices.Contains(harmless, req.Method) {
			return res, err
		}
		select {
		case <-time.After(pause):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
	}
}
