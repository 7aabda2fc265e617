package scf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

const apiService = "scf"

// call is what Invoke and InvokeFunction have in common.
type call struct {
	action                                string
	function, namespace, qualifier, event string
	invocationType, logType               string
	notJSON, tooLarge                     string // the action's error codes
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	requestID := tc3.NewRequestID()
	var cred tc3.Credential
	body, err := tc3.ReadBody(r)
	if err == nil {
		cred, err = tc3.Verify(r, body, apiService, time.Now(), s.opts.Store)
	}
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	if err := s.checkHeaders(r); err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	action := r.Header.Get("X-TC-Action")
	if err := s.admit(action, time.Now()); err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	if other := s.administration(action); other != nil {
		params, err := other(cred, requestID, body)
		if err != nil {
			tc3.WriteError(w, requestID, err)
			return
		}
		tc3.WriteResult(w, requestID, params)
		return
	}
	c, err := s.decode(r, body)
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	if err := s.authorize(cred, requestID, asks{c.action, c.namespace, c.function}); err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	f, err := s.find(c)
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}

	event := []byte(orElse(c.event, "{}"))
	if c.invocationType == "Event" {
		p, failure := s.enqueue(f, c.action, event)
		if failure != nil {
			tc3.WriteError(w, requestID, refusal(c, failure))
			return
		}
		tc3.WriteResult(w, p.RequestID, api.InvokeResponseParams{Result: acceptance(p.RequestID)})
		return
	}
	o := s.invoke(f, c.action, event)
	if o.Lost {
		panic(http.ErrAbortHandler)
	}
	if err := refusal(c, o.Failure); err != nil {
		tc3.WriteError(w, o.RequestID, err)
		return
	}
	tc3.WriteResult(w, o.RequestID, api.InvokeFunctionResponseParams{Result: c.result(o)})
}

// administration is what an action does that invokes nothing, nil for any other.
func (s *Server) administration(action string) func(cred tc3.Credential, requestID string, body []byte) (any, *tc3.Error) {
	switch action {
	case "GetRequestStatus":
		return func(cred tc3.Credential, requestID string, body []byte) (any, *tc3.Error) {
			return s.requestStatus(cred, requestID, body)
		}
	case "PutReservedConcurrencyConfig", "GetReservedConcurrencyConfig", "DeleteReservedConcurrencyConfig":
		return func(cred tc3.Credential, requestID string, body []byte) (any, *tc3.Error) {
			return s.reserve(cred, requestID, action, body)
		}
	}
	return nil
}

func (s *Server) checkHeaders(r *http.Request) *tc3.Error {
	if v := r.Header.Get("X-TC-Version"); v != api.APIVersion {
		return &tc3.Error{Code: "NoSuchVersion", Message: fmt.Sprintf("The API version %q does not exist.", v)}
	}
	if region := r.Header.Get("X-TC-Region"); region != s.opts.Region {
		return &tc3.Error{Code: "UnsupportedRegion", Message: fmt.Sprintf("The region %q is not this server's, %s.", region, s.opts.Region)}
	}
	return nil
}

// decode reads one of the two actions that invoke.
func (s *Server) decode(r *http.Request, body []byte) (call, *tc3.Error) {
	action := r.Header.Get("X-TC-Action")
	switch action {
	case "InvokeFunction":
		var p api.InvokeFunctionRequestParams
		if err := decodeParams(body, &p); err != nil {
			return call{}, err
		}
		return call{
			action: action, function: str(p.FunctionName), namespace: str(p.Namespace), event: str(p.Event),
			qualifier: orElse(str(p.Qualifier), "$DEFAULT"), logType: str(p.LogType),
			notJSON: "InvalidParameterValue.Param", tooLarge: "InvalidParameter.RequestTooLarge",
		}, nil
	case "Invoke":
		var p api.InvokeRequestParams
		if err := decodeParams(body, &p); err != nil {
			return call{}, err
		}
		return call{
			action: action, function: str(p.FunctionName), namespace: str(p.Namespace), event: str(p.ClientContext),
			qualifier: orElse(str(p.Qualifier), version), logType: str(p.LogType), invocationType: str(p.InvocationType),
			notJSON: "InvalidParameterValue.Param", tooLarge: "InvalidParameterValue.Param",
		}, nil
	default:
		return call{}, &tc3.Error{Code: "InvalidAction", Message: fmt.Sprintf("The action %q does not exist or is not emulated.", action)}
	}
}

func decodeParams(body []byte, into any) *tc3.Error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "unknown field"):
		// encoding/json has no type for this error.
		return &tc3.Error{Code: "UnknownParameter", Message: err.Error()}
	default:
		return &tc3.Error{Code: "InvalidParameter", Message: err.Error()}
	}
}

func (s *Server) find(c call) (*function, *tc3.Error) {
	if c.function == "" {
		return nil, &tc3.Error{Code: "MissingParameter", Message: "FunctionName is missing."}
	}
	if c.invocationType != "" && c.invocationType != "RequestResponse" && c.invocationType != "Event" {
		return nil, &tc3.Error{Code: "InvalidParameterValue", Message: fmt.Sprintf("InvocationType is %q, want RequestResponse or Event.", c.invocationType)}
	}
	f, err := s.named(c.function, c.namespace)
	if err != nil {
		return nil, err
	}
	if c.qualifier != "$DEFAULT" && c.qualifier != version {
		return nil, &tc3.Error{Code: "ResourceNotFound.Qualifier", Message: fmt.Sprintf("The function %s has no version or alias %s.", c.function, c.qualifier)}
	}
	return f, nil
}

func (s *Server) named(name, namespace string) (*function, *tc3.Error) {
	for _, f := range s.functions {
		if f.Name == name && f.Namespace == orElse(namespace, "default") {
			return f, nil
		}
	}
	return nil, &tc3.Error{Code: "ResourceNotFound.Function", Message: fmt.Sprintf("The function %s does not exist.", name)}
}

// refusal tells which failures are errors of the API call: those for which its error
// table has a code, since the function never had the event. All others are in the
// result of a call that succeeded.
func refusal(c call, failure *Failure) *tc3.Error {
	if failure == nil {
		return nil
	}
	switch failure.StatusCode {
	case StatusNotJSON:
		return &tc3.Error{Code: c.notJSON, Message: failure.ErrorMessage}
	case StatusRequestTooLarge:
		return &tc3.Error{Code: c.tooLarge, Message: failure.ErrorMessage}
	case StatusInternal:
		return &tc3.Error{Code: "InternalError.System", Message: failure.ErrorMessage}
	case StatusConcurrency:
		if c.invocationType == "Event" { // the queue is full
			return &tc3.Error{Code: "FailedOperation.InvokeFunction", Message: failure.ErrorMessage}
		}
	}
	return nil
}

// acceptance is the result of an asynchronous call: everything but the id is empty.
func acceptance(requestID string) *api.Result {
	var none string
	var memory, billed, status int64
	var duration float64
	return &api.Result{
		Log: &none, RetMsg: &none, ErrMsg: &none, MemUsage: &memory, Duration: &duration, BillDuration: &billed,
		FunctionRequestId: &requestID, InvokeResult: &status,
	}
}

func (c call) result(o Outcome) *api.Result {
	var log, answer, message string
	invokeResult := int64(0)
	if c.logType == "Tail" {
		log = o.tail()
	}
	if o.Failure != nil {
		message = o.Failure.json()
		invokeResult = int64(o.Status)
	} else {
		answer = string(o.Answer)
	}
	duration := o.duration()
	billed := int64(math.Ceil(duration))
	r := &api.Result{
		Log: &log, RetMsg: &answer, ErrMsg: &message, MemUsage: &o.Memory,
		Duration: &duration, BillDuration: &billed, FunctionRequestId: &o.RequestID,
	}
	// The SDK's documentation: the status code, and not available for Invoke.
	if c.action == "InvokeFunction" {
		r.InvokeResult = &invokeResult
	}
	return r
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
