package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestKindOf(t *testing.T) {
	busy := &Error{Kind: Throttled, Op: "binding targets", RetryAfter: time.Second, Err: io.EOF}
	cases := map[string]struct {
		reason string
		err    error
		want   Kind
		after  time.Duration
	}{
		"Nil":       {reason: "no error has no kind"},
		"Plain":     {reason: "losing work is worse than doing it twice", err: io.EOF, want: Transient},
		"Own":       {reason: "its own", err: busy, want: Throttled, after: time.Second},
		"Wrapped":   {reason: "through any wrapping", err: fmt.Errorf("a pass: %w", busy), want: Throttled, after: time.Second},
		"Outermost": {reason: "who wraps last knows best", err: New(Conflict, "writing", busy), want: Conflict},
		"Joined":    {reason: "of several the first", err: errors.Join(New(NotFound, "reading", io.EOF), busy), want: NotFound},
		"Context":   {reason: "a context's end passes by itself", err: fmt.Errorf("waiting: %w", context.DeadlineExceeded), want: Transient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := KindOf(tc.err); got != tc.want {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
			if got := RetryAfter(tc.err); got != tc.after {
				t.Errorf("%s: want to wait %s, got %s", tc.reason, tc.after, got)
			}
			for _, k := range []Kind{Invalid, NotFound, Conflict, Throttled, Transient, Permanent} {
				if Is(tc.err, k) != (k == tc.want) {
					t.Errorf("%s: Is(%s) is %t", tc.reason, k, Is(tc.err, k))
				}
			}
		})
	}
	if Is(nil, "") {
		t.Error("no error is of no kind")
	}
}

func TestError(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    *Error
		want   string
	}{
		"All":     {reason: "operation, field, cause", err: &Error{Kind: Invalid, Op: "decoding", Field: "data.pods[0]", Err: errors.New("needs a name")}, want: "decoding: data.pods[0]: needs a name"},
		"NoField": {reason: "what isn't known is left out", err: New(Transient, "reading", io.EOF), want: "reading: EOF"},
		"NoCause": {reason: "at least the kind", err: &Error{Kind: NotFound, Op: "reading"}, want: "reading: NotFound"},
		"Field":   {reason: "an input", err: Invalidf("CLAIM", "is %q", "x"), want: `CLAIM: is "x"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.want {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
	if err := Invalidf("body", "reading: %w", io.EOF); !errors.Is(err, io.EOF) || err.Kind != Invalid {
		t.Errorf("a cause can be found, got %v", err)
	}
}

func TestEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"Canceled": {New(Transient, "waiting", context.Canceled), true},
		"Deadline": {fmt.Errorf("waiting: %w", context.DeadlineExceeded), true},
		"Other":    {io.EOF, false},
		"Nil":      {nil, false},
	} {
		if got := Ended(tc.err); got != tc.want {
			t.Errorf("%s: want %t, got %t", name, tc.want, got)
		}
	}
}
