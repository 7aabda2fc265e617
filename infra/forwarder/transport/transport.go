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
	"time"

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
	// Throttled: the platform takes no more for now, whatever it is about; RetryAfter is
	// how long it says so, 0 if it doesn't.
	Throttled  bool
	RetryAfter time.Duration
	// Refused: it will never take this event as it is.
	Refused bool
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

// The SCF status codes of a platform that has had enough for now, and of one that will
// never run this event: it is no JSON, it or its answer is too large, the function has no
// handler, or whoever sends it may not.
var (
	tooMuch = map[int]bool{429: true, 432: true, 449: true}
	never   = map[int]bool{400: true, 406: true, 407: true, 437: true, 441: true}
)

// failed is a failure with an SCF status code.
func failed(status int) *Failure {
	return &Failure{Code: strconv.Itoa(status), Ended: over[status], Throttled: tooMuch[status], Refused: never[status]}
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
	f := failed(status)
	f.RequestID, f.Err = p.RequestID, errors.New(clip([]byte(p.ErrorMessage)))
	return f
}

// parseReply reads the one reply event in body.
func parseReply(body []byte) (event.Reply, error) {
	replies, err := parseReplies(body, 1)
	if err != nil {
		return event.Reply{}, err
	}
	return replies[0], nil
}

// parseReplies reads the replies to n events, which come in their order.
func parseReplies(body []byte, n int) ([]event.Reply, error) {
	replies, err := event.ParseReplies(body)
	if err != nil {
		return nil, fmt.Errorf("reading reply: %w", err)
	}
	if len(replies) != n {
		return nil, fmt.Errorf("reading reply: got %d for %d events", len(replies), n)
	}
	return replies, nil
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

// FailureOf is the platform's failure in err, nil for none.
func FailureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// EndedBy tells whether err says that the platform ended the attempt.
func EndedBy(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Ended
}
