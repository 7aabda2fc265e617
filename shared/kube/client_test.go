package kube

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// oldServer answers as an API server of a version with some versions of the Lease
// API does: it has no Lease, and takes every one that is made.
type oldServer struct {
	major, minor string
	leases       []string

	mu    sync.Mutex
	asked []string
}

func (o *oldServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.Method+" "+r.URL.Path)
	o.mu.Unlock()
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err) // a map of strings
		}
	}
	switch {
	case r.URL.Path == "/version":
		answer(map[string]string{"major": o.major, "minor": o.minor})
	case r.URL.Path == "/apis/coordination.k8s.io":
		var versions []map[string]string
		for _, v := range o.leases {
			versions = append(versions, map[string]string{"groupVersion": "coordination.k8s.io/" + v, "version": v})
		}
		answer(map[string]any{"kind": "APIGroup", "versions": versions})
	case r.Method == http.MethodPost:
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusCreated)
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(err) // the caller went away in the middle of a test
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
	}
}

func (o *oldServer) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason string
		server *oldServer
		want   fault.Kind
		// path is where its Leases are.
		path string
	}{
		"TooOld":     {reason: "no readiness gates before 1.12", server: &oldServer{major: "1", minor: "11", leases: []string{"v1beta1"}}, want: fault.Permanent},
		"TooOldPlus": {reason: "as vendors write it", server: &oldServer{major: "1", minor: "11+", leases: []string{"v1beta1"}}, want: fault.Permanent},
		"Oldest":     {reason: "1.12 has Leases in beta", server: &oldServer{major: "1", minor: "12+", leases: []string{"v1beta1"}}, path: "/apis/coordination.k8s.io/v1beta1/namespaces/ns/leases"},
		"Both":       {reason: "the newer is taken", server: &oldServer{major: "1", minor: "14", leases: []string{"v1", "v1beta1"}}, path: "/apis/coordination.k8s.io/v1/namespaces/ns/leases"},
		"BothBeta":   {reason: "whatever the order", server: &oldServer{major: "1", minor: "14", leases: []string{"v1beta1", "v1"}}, path: "/apis/coordination.k8s.io/v1/namespaces/ns/leases"},
		"Newer":      {reason: "what comes after v1 isn't assumed", server: &oldServer{major: "2", minor: "0", leases: []string{"v2"}}, want: fault.Permanent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(tc.server)
			defer srv.Close()
			c := newClient(t, &rest.Config{Host: srv.URL})
			_, err := c.Acquire(t.Context(), "ns", "lb-1", "attempt-a", nil)
			if fault.KindOf(err) != tc.want {
				t.Fatalf("%s: want %q, got %v", tc.reason, tc.want, err)
			}
			if tc.path != "" && !slices.Contains(tc.server.requests(), "POST "+tc.path) {
				t.Errorf("%s: want a POST to %s, got %v", tc.reason, tc.path, tc.server.requests())
			}
			var f *fault.Error
			if strings.HasPrefix(name, "TooOld") && (!errors.As(err, &f) || f.Field != "KUBE_SERVER" || !strings.Contains(err.Error(), MinVersion)) {
				t.Errorf("%s: it names the field and the version that is needed, got %v", tc.reason, err)
			}
			if !strings.HasPrefix(name, "Newer") {
				again := c.Check(t.Context())
				versions := len(slices.DeleteFunc(tc.server.requests(), func(a string) bool { return a != "GET /version" }))
				if versions != 1 || fault.KindOf(again) != tc.want {
					t.Errorf("%s: asked once and remembered, got %d times and %v", tc.reason, versions, again)
				}
			}
		})
	}
}

// TestCheckAgain: a server that couldn't answer is asked again the next time.
func TestCheckAgain(t *testing.T) {
	var down atomic.Bool
	old := &oldServer{major: "1", minor: "20", leases: []string{"v1"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		old.ServeHTTP(w, r)
	}))
	defer srv.Close()
	c := newClient(t, &rest.Config{Host: srv.URL})
	down.Store(true)
	if err := c.Check(t.Context()); !fault.Is(err, fault.Transient) {
		t.Errorf("want Transient, got %v", err)
	}
	down.Store(false)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("it is back: %v", err)
	}
}

func TestClassify(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	cases := map[string]struct {
		err   error
		want  fault.Kind
		after time.Duration
	}{
		"NotFound":      {err: apierrors.NewNotFound(pods, "p"), want: fault.NotFound},
		"Conflict":      {err: apierrors.NewConflict(pods, "p", errors.New("changed")), want: fault.Conflict},
		"AlreadyExists": {err: apierrors.NewAlreadyExists(pods, "p"), want: fault.Conflict},
		"TooMany":       {err: apierrors.NewTooManyRequests("slow down", 7), want: fault.Throttled, after: 7 * time.Second},
		"Forbidden":     {err: apierrors.NewForbidden(pods, "p", errors.New("no")), want: fault.Permanent},
		"Unauthorized":  {err: apierrors.NewUnauthorized("who"), want: fault.Permanent},
		"BadRequest":    {err: apierrors.NewBadRequest("what"), want: fault.Invalid},
		"Expired":       {err: apierrors.NewResourceExpired("list again"), want: fault.Transient},
		"Internal":      {err: apierrors.NewInternalError(errors.New("oops")), want: fault.Transient},
		"Network":       {err: io.ErrUnexpectedEOF, want: fault.Transient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := classify("reading pod", tc.err)
			if fault.KindOf(err) != tc.want || fault.RetryAfter(err) != tc.after || !errors.Is(err, tc.err) {
				t.Errorf("want %s after %s, got %v after %s", tc.want, tc.after, fault.KindOf(err), fault.RetryAfter(err))
			}
		})
	}
	if classify("op", nil) != nil {
		t.Error("no error is no error")
	}
}
