package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// Client talks to one API server. It is made once for a process and kept: a warm
// function reuses its connection. Only the API groups we use are in its scheme,
// which keeps the cold start short.
type Client struct {
	core, raw rest.Interface
	codec     runtime.ParameterCodec
	clock     *serverClock
	build     func(gv schema.GroupVersion, path, contentType string) (rest.Interface, error)

	mu sync.Mutex
	// checked: the server's version was asked for; tooOld is what came of it,
	// leases the client for the version of the Lease API that it has.
	checked bool
	tooOld  error
	leases  rest.Interface

	ingress ingressAPI
}

const protobuf = "application/vnd.kubernetes.protobuf"

// MinVersion is the oldest server we work with: readiness gates came with it.
const MinVersion = "1.12"

// New makes a client for config. Protobuf is spoken on the wire; nothing is sent
// before the first call.
func New(config *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	// Leases are the same object in both versions of their group.
	v1beta1 := schema.GroupVersion{Group: coordinationv1.GroupName, Version: "v1beta1"}
	scheme.AddKnownTypes(v1beta1, &coordinationv1.Lease{})
	metav1.AddToGroupVersion(scheme, v1beta1)
	for _, v := range ingressVersions {
		scheme.AddKnownTypes(v.GroupVersion, v.one(), v.many())
		metav1.AddToGroupVersion(scheme, v.GroupVersion)
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})

	c := &Client{codec: runtime.NewParameterCodec(scheme), clock: &serverClock{now: time.Now}}
	c.build = func(gv schema.GroupVersion, path, contentType string) (rest.Interface, error) {
		cfg := rest.CopyConfig(config)
		cfg.GroupVersion, cfg.APIPath = &gv, path
		cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		cfg.ContentType = contentType
		cfg.AcceptContentTypes = contentType + ",application/json"
		cfg.UserAgent = "clb-direct"
		cfg.QPS = -1 // the server's own priority and fairness bounds us
		cfg.Wrap(c.clock.wrap)
		return rest.RESTClientFor(cfg)
	}
	var err error
	if c.core, err = c.build(schema.GroupVersion{Version: "v1"}, "/api", protobuf); err != nil {
		return nil, fmt.Errorf("making the core client: %w", err)
	}
	if c.raw, err = c.build(schema.GroupVersion{Group: "cloud.tencent.com", Version: "v1alpha1"}, "/apis", "application/json"); err != nil {
		return nil, fmt.Errorf("making the client for custom resources: %w", err)
	}
	return c, nil
}

// BytesRead is how much the API server has sent so far, in bytes.
func (c *Client) BytesRead() int64 { return c.clock.bytesRead() }

// Check asks the server for its version, once, and fails if it is older than
// MinVersion; it also finds which version of the Lease API there is.
func (c *Client) Check(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked {
		return c.tooOld
	}
	body, err := c.raw.Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return classify("asking the API server for its version", err)
	}
	var info version.Info
	if err := json.Unmarshal(body, &info); err != nil {
		return fault.New(fault.Transient, "reading the API server's version", err)
	}
	if tooOld(info.Major, info.Minor) {
		c.checked, c.tooOld = true, &fault.Error{Kind: fault.Permanent, Op: "checking the API server's version", Field: "KUBE_SERVER",
			Err: fmt.Errorf("is Kubernetes %s.%s, must be %s or later: readiness gates came with it", info.Major, info.Minor, MinVersion)}
		return c.tooOld
	}
	v, err := c.findLeaseVersion(ctx)
	if err != nil {
		return err
	}
	if c.leases, err = c.build(schema.GroupVersion{Group: coordinationv1.GroupName, Version: v}, "/apis", protobuf); err != nil {
		return fmt.Errorf("making the client for Leases: %w", err)
	}
	c.checked = true
	return nil
}

// tooOld reads versions as servers write them: minor may be "12+".
func tooOld(major, minor string) bool {
	ma, err := strconv.Atoi(strings.TrimRight(major, "+"))
	if err != nil {
		return false
	}
	mi, err := strconv.Atoi(strings.TrimRight(minor, "+"))
	return err == nil && (ma < 1 || ma == 1 && mi < 12)
}

// findLeaseVersion discovers coordination.k8s.io: v1 came with 1.14.
func (c *Client) findLeaseVersion(ctx context.Context) (string, error) {
	body, err := c.raw.Get().AbsPath("/apis/coordination.k8s.io").DoRaw(ctx)
	if err != nil {
		return "", classify("discovering coordination.k8s.io", err)
	}
	var group metav1.APIGroup
	if err := json.Unmarshal(body, &group); err != nil {
		return "", fault.New(fault.Transient, "discovering coordination.k8s.io", err)
	}
	var served []string
	for _, v := range group.Versions {
		served = append(served, v.Version)
	}
	for _, v := range []string{"v1", "v1beta1"} {
		if slices.Contains(served, v) {
			return v, nil
		}
	}
	return "", fault.New(fault.Permanent, "discovering coordination.k8s.io", fmt.Errorf("the server has %v, needed is v1 or v1beta1", served))
}

// classify gives an API server's error a kind.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Transient
	switch {
	case apierrors.IsNotFound(err), apierrors.IsGone(err):
		kind = fault.NotFound
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), isOtherUID(err):
		kind = fault.Conflict
	case apierrors.IsTooManyRequests(err):
		kind = fault.Throttled
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		kind = fault.Permanent
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		kind = fault.Invalid
	}
	e := fault.New(kind, op, err)
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// isOtherUID tells whether a patch met another object of the name: the server says
// so of a UID, unlike of a resourceVersion, as of any field that can't be changed.
func isOtherUID(err error) bool {
	cause, ok := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return ok && cause.Field == "metadata.uid"
}

// serverClock knows what time the API server thinks it is, by the Date of its
// answers: leases are judged by one clock for all holders, never by a function's.
type serverClock struct {
	now func() time.Time

	mu    sync.Mutex
	date  time.Time // as the server said, in whole seconds: the truth is up to 1 s later
	sent  time.Time // when we had asked
	at    time.Time // when we read that
	bytes int64
}

// Now is the server's time, never ahead of it: what is over by Now is over. An
// error when the server has not answered yet.
func (s *serverClock) Now() (time.Time, error) {
	return s.since(func() time.Time { return s.at })
}

// Stamp is the server's time, never more than a second behind it, however long the
// answer that told it was on its way (or this process stopped): what others count
// from Stamp is not over sooner than we think.
func (s *serverClock) Stamp() (time.Time, error) {
	return s.since(func() time.Time { return s.sent })
}

func (s *serverClock) since(from func() time.Time) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.date.IsZero() {
		return time.Time{}, fault.New(fault.Transient, "reading the API server's clock", fmt.Errorf("no answer had a Date yet"))
	}
	return s.date.Add(s.now().Sub(from())), nil
}

func (s *serverClock) bytesRead() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func (s *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		sent := s.now()
		res, err := next.RoundTrip(r)
		if err != nil {
			return res, err
		}
		if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			s.mu.Lock()
			s.date, s.sent, s.at = date, sent, s.now()
			s.mu.Unlock()
		}
		res.Body = &countedBody{res.Body, s}
		return res, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
