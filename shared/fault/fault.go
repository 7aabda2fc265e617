// Package fault gives every error that leaves a package of ours one of six kinds
// and the operation that met it. Only the door (package event) turns a kind into
// "come again" or "never mind"; nobody compares error texts.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about an error.
type Kind string

// The six kinds.
const (
	// Invalid is bad input: it names a field and stays wrong until somebody changes it.
	Invalid Kind = "Invalid"
	// NotFound is a thing that is not there (any more).
	NotFound Kind = "NotFound"
	// Conflict is truth that moved under us: read again and plan anew.
	Conflict Kind = "Conflict"
	// Throttled is a refusal for rate or a busy load balancer: come again a little later.
	Throttled Kind = "Throttled"
	// Transient is a failure that passes by itself: network, timeouts, server errors.
	Transient Kind = "Transient"
	// Permanent is a refusal that only a person can lift: quota, permission, arrears.
	Permanent Kind = "Permanent"
)

// Error is an error with a kind. Op is a gerund phrase ("registering targets"),
// Field the input at fault if one is, Code the remote's own code if it gave one.
type Error struct {
	Kind       Kind
	Op         string
	Field      string
	Code       string
	RetryAfter time.Duration
	Err        error
}

// Error writes "op: field: cause".
func (e *Error) Error() string {
	s := ""
	for _, part := range []string{e.Op, e.Field} {
		if part != "" {
			s += part + ": "
		}
	}
	if e.Err != nil {
		return s + e.Err.Error()
	}
	return s + string(e.Kind)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of kind k met while doing op.
func New(k Kind, op string, err error) *Error { return &Error{Kind: k, Op: op, Err: err} }

// Invalidf is bad input in field.
func Invalidf(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Err: fmt.Errorf(format, args...)}
}

// KindOf is the kind of the outermost *Error in err's chain. A context's end is
// Transient; an error nobody classified is Transient too, because losing work is
// worse than doing it twice. nil has no kind.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Transient
}

// Is tells whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// RetryAfter is how long the remote asked us to wait, or 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// Ended tells whether err comes from a context that ended.
func Ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
