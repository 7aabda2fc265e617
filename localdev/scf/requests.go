package scf

import (
	"fmt"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// requestTime is the form of the times in GetRequestStatus, which are local ones.
const requestTime = "2006-01-02 15:04:05"

// defaultWindow is how far back a request is looked for unless the caller says.
const defaultWindow = 15 * time.Minute

// RetCode as GetRequestStatus gives it.
const (
	retSuccess = 0
	retRunning = 1
	retFailed  = -1
)

// requestStatus answers GetRequestStatus, a call of its own id: the last try of an
// asynchronous request.
func (s *Server) requestStatus(cred tc3.Credential, id string, body []byte) (*api.GetRequestStatusResponseParams, *tc3.Error) {
	var p api.GetRequestStatusRequestParams
	if err := decodeParams(body, &p); err != nil {
		return nil, err
	}
	if err := s.authorize(cred, id, asks{"GetRequestStatus", str(p.Namespace), str(p.FunctionName)}); err != nil {
		return nil, err
	}
	f, err := s.named(str(p.FunctionName), str(p.Namespace))
	if err != nil {
		return nil, err
	}
	if str(p.FunctionRequestId) == "" {
		return nil, &tc3.Error{Code: "InvalidParameterValue.FunctionRequestId", Message: "FunctionRequestId is missing."}
	}
	from, to, err := window(p, time.Now())
	if err != nil {
		return nil, err
	}

	count := int64(0)
	out := &api.GetRequestStatusResponseParams{TotalCount: &count, Data: []*api.RequestStatus{}}
	tries, answers := s.history.request(*p.FunctionRequestId)
	if len(tries) == 0 {
		return out, nil
	}
	last, answer := tries[len(tries)-1], answers[len(tries)-1]
	if last.Key != f.Key || !last.Async || tries[0].Start.Before(from) || tries[0].Start.After(to) {
		return out, nil
	}
	start := tries[0].Start.In(manifest.Zone).Format(requestTime)
	code, retries := int64(retSuccess), int64(last.Retry)
	memory, duration := float64(last.Memory)/(1<<20), Outcome{Invocation: last}.duration()
	switch {
	case last.End.IsZero():
		code, duration = retRunning, 0
	case last.Status != StatusOK:
		code, answer = retFailed, last.Message
	}
	count = 1
	out.Data = append(out.Data, &api.RequestStatus{
		FunctionName: &f.Name, RequestId: p.FunctionRequestId, StartTime: &start, RetCode: &code, RetMsg: &answer,
		Duration: &duration, MemUsage: &memory, RetryNum: &retries,
	})
	return out, nil
}

// window reads when the request may have begun, to the second.
func window(p api.GetRequestStatusRequestParams, now time.Time) (from, to time.Time, _ *tc3.Error) {
	from, to = now.Add(-defaultWindow), now
	for _, bound := range []struct {
		name, value string
		to          *time.Time
	}{{"StartTime", str(p.StartTime), &from}, {"EndTime", str(p.EndTime), &to}} {
		if bound.value == "" {
			continue
		}
		t, err := time.ParseInLocation(requestTime, bound.value, manifest.Zone)
		if err != nil {
			return from, to, &tc3.Error{Code: "InvalidParameterValue.DateTime", Message: fmt.Sprintf("%s is %q, want the form %s.", bound.name, bound.value, requestTime)}
		}
		*bound.to = t
	}
	if str(p.StartTime) != "" && str(p.EndTime) == "" {
		return from, to, &tc3.Error{Code: "InvalidParameterValue.StartTimeOrEndTime", Message: "StartTime needs an EndTime."}
	}
	if str(p.EndTime) != "" {
		to = to.Add(time.Second - time.Nanosecond) // the second that it names is in
	}
	if to.Before(from) {
		return from, to, &tc3.Error{Code: "InvalidParameterValue.StartTimeOrEndTime", Message: "EndTime is before StartTime."}
	}
	return from, to, nil
}
