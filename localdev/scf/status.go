package scf

import "encoding/json"

// Status is how an invocation ended, as SCF numbers it ("Function status codes",
// document 583/42611).
type Status int

// The status codes this emulator answers with.
const (
	StatusOK               Status = 200
	StatusNotJSON          Status = 400 // the event is not JSON
	StatusBadResponse      Status = 403 // the answer to a URL request has a statusCode but not the form
	StatusContainerExited  Status = 405 // the process ended before it was ready
	StatusRequestTooLarge  Status = 406 // event above 6 MB
	StatusResponseTooLarge Status = 407 // answer above 6 MB
	StatusBurst            Status = 429 // more new instances a minute than the region gives; only a Fault answers it
	StatusUserCode         Status = 430 // the function returned an error or panicked
	StatusConcurrency      Status = 432 // no instance left
	StatusTimeout          Status = 433 // the function's timeout passed; instance ended
	StatusMemory           Status = 434 // the memory limit was passed; instance ended
	StatusHandlerNotFound  Status = 437 // no such executable in the package
	StatusProcessExit      Status = 439 // the process ended during the event
	StatusUnauthorized     Status = 441 // a function URL with CAM authentication, without permission
	StatusInitTimeout      Status = 450 // the process was not ready in time
	StatusInternal         Status = 500 // the platform's own failure
)

// String is the documented name of s.
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "Success"
	case StatusNotJSON:
		return "InvalidParameterValue"
	case StatusBadResponse:
		return "Invalid scf response format"
	case StatusContainerExited:
		return "ContainerStateExited"
	case StatusRequestTooLarge:
		return "RequestTooLarge"
	case StatusResponseTooLarge:
		return "The size of response exceeds the upper limit (6MB)"
	case StatusBurst:
		return "ResourceLimit"
	case StatusUserCode:
		return "User code exception caught"
	case StatusConcurrency:
		return "ResourceLimitReached"
	case StatusTimeout:
		return "TimeLimitReached"
	case StatusMemory:
		return "MemoryLimitReached"
	case StatusHandlerNotFound:
		return "HandlerNotFound"
	case StatusProcessExit:
		return "User process exit when running"
	case StatusUnauthorized:
		return "UserCodeUnauthorized"
	case StatusInitTimeout:
		return "InitContainerTimeout"
	default:
		return "InternalError"
	}
}

// blame tells whose failure a status is, which decides about another try ("Retry
// policy", document 583/41138).
func (s Status) blame() blame {
	switch s {
	case StatusNotJSON, StatusRequestTooLarge, StatusHandlerNotFound:
		return sender
	case StatusInternal, StatusConcurrency, StatusBurst:
		return platform
	default:
		return user
	}
}

type blame int

const (
	user     blame = iota // the function failed
	sender                // the event never reaches it, however often it is tried
	platform              // the platform had no means to run it
)

// Failure is the JSON a caller gets instead of the function's answer: as the body of a
// function URL's response and in Result.ErrMsg of InvokeFunction.
type Failure struct {
	// ErrorCode is -1 in every answer seen of the platform; StatusCode tells.
	ErrorCode    int    `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
	RequestID    string `json:"requestId"`
	StackTrace   string `json:"stackTrace,omitempty"`
	StatusCode   Status `json:"statusCode"`
}

func (f *Failure) json() string {
	// A struct of strings and numbers always marshals.
	b, _ := json.Marshal(f)
	return string(b)
}
