package scf

import (
	"fmt"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"
	"golang.org/x/time/rate"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// unreservable is how much of a region's memory functions can't reserve, in MB (SCF API,
// PutReservedConcurrencyConfig).
const unreservable = 12_800

// reserving is what the three actions about a function's reserved quota have in common.
type reserving struct {
	FunctionName, Namespace *string
	ReservedConcurrencyMem  *uint64
}

// reserve answers PutReservedConcurrencyConfig, GetReservedConcurrencyConfig and
// DeleteReservedConcurrencyConfig: the memory that a function's instances have for
// themselves, and no more.
func (s *Server) reserve(cred tc3.Credential, id, action string, body []byte) (any, *tc3.Error) {
	var p reserving
	if err := decodeParams(body, &p); err != nil {
		return nil, err
	}
	if err := s.authorize(cred, id, asks{action, str(p.Namespace), str(p.FunctionName)}); err != nil {
		return nil, err
	}
	f, err := s.named(str(p.FunctionName), str(p.Namespace))
	if err != nil {
		return nil, err
	}
	switch action {
	case "GetReservedConcurrencyConfig":
		out := api.GetReservedConcurrencyConfigResponseParams{}
		if mb, set := f.reservedMB(); set {
			out.ReservedMem = new(uint64(mb))
		}
		return out, nil
	case "DeleteReservedConcurrencyConfig":
		f.setReserved(nil)
		return struct{}{}, nil
	}
	if p.ReservedConcurrencyMem == nil {
		return nil, &tc3.Error{Code: "MissingParameter", Message: "ReservedConcurrencyMem is missing."}
	}
	all := *p.ReservedConcurrencyMem
	for _, other := range s.functions {
		if mb, set := other.reservedMB(); set && other != f {
			all += uint64(mb)
		}
	}
	if all > regionQuotaMB-unreservable {
		return nil, &tc3.Error{
			Code:    "LimitExceeded.FunctionReservedConcurrencyMemory",
			Message: fmt.Sprintf("The reserved quotas of the region would be %d MB, at most %d.", all, regionQuotaMB-unreservable),
		}
	}
	f.setReserved(new(int(*p.ReservedConcurrencyMem)))
	return struct{}{}, nil
}

// reservedMB is the function's reserved quota, if it has one.
func (f *function) reservedMB() (mb int, set bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reserved == nil {
		return 0, false
	}
	return *f.reserved, true
}

func (f *function) setReserved(mb *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserved = mb
}

// instances is how many there may be, and the quota that says so; the lock is held.
func (f *function) instances() (limit int, quota string) {
	if f.reserved != nil {
		return *f.reserved / f.MemoryMB, "reserved quota"
	}
	if own := f.server.opts.Concurrency; own > 0 {
		return own, "reserved quota"
	}
	return regionQuotaMB / f.MemoryMB, "region unreserved quota"
}

// rates are how many requests a second each action takes (the pages of SCF API's
// actions); usualRate is that of all others.
var rates = map[string]rate.Limit{"InvokeFunction": 10_000, "Invoke": 100}

const usualRate = 20

// admit takes a token of an action's, of as many as its rate, refilled evenly.
func (s *Server) admit(action string, now time.Time) *tc3.Error {
	limit, known := rates[action]
	if !known {
		limit = usualRate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.meters[action]
	if m == nil {
		m = rate.NewLimiter(limit, int(limit))
		s.meters[action] = m
	}
	if m.AllowN(now, 1) {
		return nil
	}
	return &tc3.Error{
		Code:    "RequestLimitExceeded",
		Message: fmt.Sprintf("Your current request times equals to `%d` in a second, which exceeds the frequency limit `%d` for a second. Please reduce the frequency of calls.", int(limit)+1, int(limit)),
	}
}
