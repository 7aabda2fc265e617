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
	body, err := tc3.ReadBody(r)
	if err == nil {
		_, err = tc3.Verify(r, body, apiService, time.Now(), s.opts.Store)
	}
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	c, err := s.decode(r, body)
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}
	f, err := s.find(c)
	if err != nil {
		tc3.WriteError(w, requestID, err)
		return
	}

	o := s.invoke(f, c.action, []byte(orElse(c.event, "{}")))
	if err := refusal(c, o); err != nil {
		tc3.WriteError(w, o.RequestID, err)
		return
	}
	tc3.WriteResult(w, o.RequestID, api.InvokeFunctionResponseParams{Result: c.result(o)})
}

// decode reads one of the two actions.
func (s *Server) decode(r *http.Request, body []byte) (call, *tc3.Error) {
	action := r.Header.Get("X-TC-Action")
	if v := r.Header.Get("X-TC-Version"); v != api.APIVersion {
		return call{}, &tc3.Error{Code: "NoSuchVersion", Message: fmt.Sprintf("The API version %q does not exist.", v)}
	}
	if region := r.Header.Get("X-TC-Region"); region != s.opts.Region {
		return call{}, &tc3.Error{Code: "UnsupportedRegion", Message: fmt.Sprintf("The region %q is not this server's, %s.", region, s.opts.Region)}
	}
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
	if c.invocationType != "" && c.invocationType != "RequestResponse" {
		return nil, &tc3.Error{Code: "UnsupportedOperation", Message: fmt.Sprintf("InvocationType %s is not emulated.", c.invocationType)}
	}
	for _, f := range s.functions {
		if f.Name != c.function || f.Namespace != orElse(c.namespace, defaultNamespace) {
			continue
		}
		if c.qualifier != "$DEFAULT" && c.qualifier != version {
			return nil, &tc3.Error{Code: "ResourceNotFound.Qualifier", Message: fmt.Sprintf("The function %s has no version or alias %s.", c.function, c.qualifier)}
		}
		return f, nil
	}
	return nil, &tc3.Error{Code: "ResourceNotFound.Function", Message: fmt.Sprintf("The function %s does not exist.", c.function)}
}

// refusal tells which failures are errors of the API call: those for which its error
// table has a code, since the function never had the event. All others are in the
// result of a call that succeeded.
func refusal(c call, o outcome) *tc3.Error {
	switch o.Status {
	case StatusNotJSON:
		return &tc3.Error{Code: c.notJSON, Message: o.Message}
	case StatusRequestTooLarge:
		return &tc3.Error{Code: c.tooLarge, Message: o.Message}
	case StatusInternal:
		return &tc3.Error{Code: "InternalError.System", Message: o.Message}
	default:
		return nil
	}
}

func (c call) result(o outcome) *api.Result {
	var log, answer, message string
	invokeResult := int64(0)
	if c.logType == "Tail" {
		log = o.tail()
	}
	if o.failure != nil {
		message = o.failure.json()
		invokeResult = int64(o.Status)
	} else {
		answer = string(o.payload)
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

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
