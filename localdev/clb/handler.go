package clb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// The service as requests must name it (CLB API, "Common params").
const (
	service = "clb"
	version = "2018-03-17"
)

// ServeHTTP answers one API request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := Call{Time: s.opts.Now(), Action: r.Header.Get("X-TC-Action"), RequestID: tc3.NewRequestID()}
	result, fault, err := s.serve(r, &call)
	call.Done = s.opts.Now()
	call.Dropped = fault.Drop

	var answer *tc3.Error
	if err != nil && !errors.As(err, &answer) {
		answer = &tc3.Error{Code: "InternalError", Message: err.Error()}
	}
	if answer != nil {
		call.Code = answer.Code
	}
	s.calls.add(call)
	switch {
	case fault.Drop:
		panic(http.ErrAbortHandler)
	case answer != nil:
		tc3.WriteError(w, call.RequestID, answer)
	default:
		tc3.WriteResult(w, call.RequestID, result)
	}
}

// serve takes a request as far as it goes, filling call in on the way. The fault is
// never nil.
func (s *Server) serve(r *http.Request, call *Call) (any, *Fault, error) {
	none := &Fault{}
	if r.Method != http.MethodPost {
		return nil, none, failure("InvalidRequest", "The emulator takes POST requests only.")
	}
	body, bad := tc3.ReadBody(r)
	if bad != nil {
		return nil, none, bad
	}
	cred, bad := tc3.Verify(r, body, service, s.opts.Now(), s.opts.Store)
	if bad != nil {
		return nil, none, bad
	}
	call.Principal = cred.Principal
	if got := r.Header.Get("X-TC-Version"); got != version {
		return nil, none, failure("NoSuchVersion", "The API version %q does not exist.", got)
	}
	act, found := actions[call.Action]
	if !found {
		return nil, none, failure("InvalidAction", "The request action=%s is invalid or not found.", call.Action)
	}
	call.Write = act.write
	region := r.Header.Get("X-TC-Region")
	if err := s.checkRegion(region); err != nil {
		return nil, none, err
	}
	if !s.admit(meterKey{call.Action, region, s.opts.SubAccount(cred.Principal)}, call.Time) {
		return nil, none, failure("RequestLimitExceeded", "Your current request times equals to `%d` in a second, which exceeds the frequency limit `%d` for a second. Please reduce the frequency of calls.", s.opts.RequestRate+1, s.opts.RequestRate)
	}

	request := act.request()
	if err := decode(body, request); err != nil {
		return nil, none, err
	}
	call.LoadBalancerID, call.Targets = summarize(request)
	fault := s.fault(s.ctx, *call)
	if err := sleep(s.ctx, fault.Before+s.opts.Latencies.API); err != nil {
		return nil, fault, err
	}
	if fault.Error != nil {
		return nil, fault, fault.Error
	}
	if err := s.authorize(cred, call, region, request); err != nil {
		return nil, fault, err
	}
	result, err := act.run(s, backend.Op{ID: call.RequestID, FailTask: fault.FailTask}, request)
	if serr := sleep(s.ctx, fault.After); serr != nil {
		return nil, fault, serr
	}
	return result, fault, err
}

func (s *Server) checkRegion(region string) error {
	if region == "" {
		return failure("MissingParameter", "The request is missing the required parameter `Region`.")
	}
	if len(s.opts.Regions) > 0 && !slices.Contains(s.opts.Regions, region) {
		return failure("UnsupportedRegion", "The region %s is not supported.", region)
	}
	return nil
}

// meterKey is what requests are counted by (API 3.0, "Request frequency limit": action,
// region and sub-account).
type meterKey struct{ action, region, account string }

// admit takes a token, of as many as the rate, refilled evenly.
func (s *Server) admit(key meterKey, now time.Time) bool {
	if s.opts.RequestRate < 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.meters[key]
	if m == nil {
		m = rate.NewLimiter(rate.Limit(s.opts.RequestRate), s.opts.RequestRate)
		s.meters[key] = m
	}
	return m.AllowN(now, 1)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to answer: %w", ctx.Err())
	}
}

func failure(code, format string, args ...any) error {
	return &tc3.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
