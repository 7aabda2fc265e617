// Package transport takes one event to a function and brings its reply back: by
// function URL, or by the cloud API's InvokeFunction. Neither retries: the queue
// does.
package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/clb-direct/clb-direct/shared/event"
)

// Transport delivers events.
type Transport interface {
	// Send hands the function one structured-mode CloudEvent and returns its reply.
	// Errors may be a *Failure; any error means that the event must come again.
	Send(ctx context.Context, f event.Function, payload []byte) (event.Reply, error)
}

// Failure is an invocation that got no reply out of the function.
type Failure struct {
	// Code is what stands for it in metrics: an SCF status code ("Function status
	// codes", 583/42611), an HTTP status or an API error code.
	Code string
	// Ended: the platform says that the function has stopped working on this event.
	// A time-out of our own never says so.
	Ended bool
	// RequestID is the platform's, "" when it gave none.
	RequestID string
	Err       error
}

// Error writes code and cause.
func (f *Failure) Error() string {
	if f.RequestID == "" {
		return f.Code + ": " + f.Err.Error()
	}
	return fmt.Sprintf("%s: %v (request %s)", f.Code, f.Err, f.RequestID)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// The SCF status codes after which no code of the function works on the event any
// more. After the others it was never begun, or nobody knows.
var over = map[int]bool{
	403: true, // its answer has not the form
	407: true, // its answer is too large
	430: true, // it returned an error or panicked
	433: true, // its time was up
	434: true, // its memory was up
	439: true, // its process ended
}

// platformFailure is what SCF answers in a function's place.
type platformFailure struct {
	ErrorCode    int    `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
	RequestID    string `json:"requestId"`
	StatusCode   int    `json:"statusCode"`
}

// parseFailure reads the platform's failure out of what came in place of a reply;
// status is used when the text doesn't say, 0 for unknown.
func parseFailure(text []byte, status int) *Failure {
	var p platformFailure
	if json.Unmarshal(text, &p) != nil || p.ErrorMessage == "" {
		p.ErrorMessage = fmt.Sprintf("answered %q", clip(text))
	}
	switch {
	case p.StatusCode != 0:
		status = p.StatusCode
	case p.ErrorCode > 0:
		status = p.ErrorCode
	}
	return &Failure{Code: strconv.Itoa(status), Ended: over[status], RequestID: p.RequestID, Err: errors.New(clip([]byte(p.ErrorMessage)))}
}

// parseReply reads the one reply event in body.
func parseReply(body []byte) (event.Reply, error) {
	replies, err := event.ParseReplies(body)
	if err != nil {
		return event.Reply{}, fmt.Errorf("reading reply: %w", err)
	}
	if len(replies) != 1 {
		return event.Reply{}, fmt.Errorf("reading reply: got %d for one event", len(replies))
	}
	return replies[0], nil
}

// clip bounds what a stranger's text may add to a log line.
func clip(text []byte) string {
	const most = 300
	if len(text) > most {
		return string(text[:most]) + "..."
	}
	return string(text)
}

// CodeOf is the code that stands for err in metrics.
func CodeOf(err error) string {
	var f *Failure
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &f):
		return f.Code
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "network"
}

// EndedBy tells whether err says that the platform ended the attempt.
func EndedBy(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Ended
}
