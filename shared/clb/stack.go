package clb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithytime "github.com/aws/smithy-go/time"
	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// operation is one kind of call.
type operation struct {
	// Action is the API's name for it, Op ours: a gerund for error messages.
	Action, Op string
	// Write: it changes something, so it needs the fence and is never repeated
	// blindly.
	Write bool
	// Task: it returns before it is done; its RequestId is the task's id.
	Task bool
}

// call sends one request through the stack. send is the SDK's method, whose answer has
// a body if there is no error.
//
//	Initialize  trace, then (for tasks) wait for the task, limits checked
//	Finalize    retry, rate, fence
//	Deserialize classification
func call[Q, A any](ctx context.Context, s *Session, op operation, check func() error, req Q, send func(context.Context, Q) (A, error)) (A, error) {
	var zero A
	stack := middleware.NewStack(op.Action, func() any { return nil })
	for _, err := range []error{
		stack.Initialize.Add(s.trace(op), middleware.After),
		stack.Initialize.Add(s.validate(op, check), middleware.After),
		stack.Initialize.Add(s.awaitTask(op), middleware.After),
		stack.Finalize.Add(s.retry(op), middleware.After),
		stack.Finalize.Add(s.limit(op), middleware.After),
		stack.Finalize.Add(s.guard(op), middleware.After),
		stack.Deserialize.Add(s.classify(op), middleware.After),
	} {
		if err != nil {
			return zero, fmt.Errorf("building the stack of %s: %w", op.Action, err)
		}
	}
	handler := middleware.DecorateHandler(middleware.HandlerFunc(func(ctx context.Context, _ any) (any, middleware.Metadata, error) {
		var meta middleware.Metadata
		timeout := readTimeout
		if op.Write {
			timeout = WriteTimeout
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		s.count(op.Action)
		answer, err := send(ctx, req)
		if err != nil {
			return nil, meta, err
		}
		id, ok := requestID(answer)
		if !ok {
			return nil, meta, errNoBody
		}
		meta.Set(requestIDKey{}, id)
		return answer, meta, nil
	}), stack)
	out, _, err := handler.Handle(ctx, req)
	if op.Write {
		s.wrote(err)
	}
	if err != nil {
		return zero, err
	}
	return out.(A), nil
}

type requestIDKey struct{}

// errNoBody is an answer that says nothing, not even that something went wrong.
var errNoBody = errors.New("the answer has no body")

// requestID finds the RequestId in an answer of the SDK, whose types have it in common
// but for the name; ok is false if the answer has no body.
func requestID(answer any) (id string, ok bool) {
	body := reflect.Indirect(reflect.ValueOf(answer)).FieldByName("Response")
	if body.IsNil() {
		return "", false
	}
	p, _ := body.Elem().FieldByName("RequestId").Interface().(*string)
	return value(p), true
}

func (s *Session) trace(op operation) middleware.InitializeMiddleware {
	return middleware.InitializeMiddlewareFunc("Trace", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		start := time.Now()
		out, meta, err := next.HandleInitialize(ctx, in)
		attrs := []any{"action", op.Action, "seconds", time.Since(start).Seconds()}
		if id, ok := meta.Get(requestIDKey{}).(string); ok {
			attrs = append(attrs, "requestId", id)
		}
		if err != nil {
			attrs = append(attrs, "error", err.Error())
		}
		s.log.DebugContext(ctx, "clb call", attrs...)
		return out, meta, err
	})
}

// validate refuses what the API would refuse, before a token is spent on it.
func (s *Session) validate(op operation, check func() error) middleware.InitializeMiddleware {
	return middleware.InitializeMiddlewareFunc("Validate", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		if check != nil {
			if err := check(); err != nil {
				return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("%s: %w", op.Op, err)
			}
		}
		return next.HandleInitialize(ctx, in)
	})
}

// awaitTask waits until an asynchronous call has taken effect (CLB API,
// DescribeTaskStatus: 0 success, 1 failed, 2 in progress).
func (s *Session) awaitTask(op operation) middleware.InitializeMiddleware {
	return middleware.InitializeMiddlewareFunc("AwaitTask", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleInitialize(ctx, in)
		if err != nil || !op.Task {
			return out, meta, err
		}
		id, ok := meta.Get(requestIDKey{}).(string)
		if !ok || id == "" {
			return out, meta, fault.New(fault.Transient, op.Op, fmt.Errorf("the answer has no RequestId to follow its task by"))
		}
		if err := s.await(ctx, op, id, firstPoll); err != nil {
			return out, meta, err
		}
		return out, meta, nil
	})
}

// firstPoll is when to ask for a task first: none is done sooner.
const firstPoll = 200 * time.Millisecond

// taskError is a task that failed.
type taskError struct{ id, message string }

func (e *taskError) Error() string { return fmt.Sprintf("task %s failed: %s", e.id, e.message) }

// await polls a task, the first time after delay. The fence is kept up meanwhile:
// the task holds the CLB, and whoever took the Lease from us would only be refused.
func (s *Session) await(ctx context.Context, op operation, taskID string, delay time.Duration) error {
	for {
		if err := smithytime.SleepWithContext(ctx, delay); err != nil {
			return fault.New(fault.Transient, op.Op, fmt.Errorf("waiting for task %s: %w", taskID, err))
		}
		delay = min(max(delay*3/2, firstPoll), time.Second)
		if err := s.fence(ctx); err != nil {
			return fault.New(fault.Conflict, op.Op, err)
		}
		req := sdk.NewDescribeTaskStatusRequest()
		req.TaskId = &taskID
		res, err := call(ctx, s, operation{Action: "DescribeTaskStatus", Op: "asking for a task"}, nil, req, s.api.DescribeTaskStatusWithContext)
		if err != nil {
			return fmt.Errorf("%s: %w", op.Op, err)
		}
		switch {
		case res.Response.Status == nil:
			return fault.New(fault.Transient, op.Op, fmt.Errorf("task %s has no status", taskID))
		case *res.Response.Status == 0:
			return nil
		case *res.Response.Status == 1:
			return fault.New(fault.Transient, op.Op, &taskError{taskID, value(res.Response.Message)})
		}
	}
}

// retry repeats what surely had no effect: refusals for rate and for a busy CLB,
// and reads that failed in transit. A write that may have had an effect is never
// repeated here: the pass reads again and plans anew.
func (s *Session) retry(op operation) middleware.FinalizeMiddleware {
	return middleware.FinalizeMiddlewareFunc("Retry", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		for attempt := 0; ; attempt++ {
			out, meta, err := next.HandleFinalize(ctx, in)
			delay, again := retryDelay(op, err, attempt)
			if !again {
				return out, meta, err
			}
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay+WriteTimeout && op.Write {
				return out, meta, err
			}
			if smithytime.SleepWithContext(ctx, delay) != nil {
				return out, meta, err
			}
		}
	})
}

// retryDelay says whether and after how long to repeat.
func retryDelay(op operation, err error, attempt int) (time.Duration, bool) {
	if err == nil || fault.Ended(err) {
		return 0, false
	}
	base, most := time.Duration(0), 0
	switch {
	case Code(err) == CodeBusy:
		base, most = 150*time.Millisecond, 20
	case fault.Is(err, fault.Throttled):
		base, most = 400*time.Millisecond, 6
	case fault.Is(err, fault.Transient) && !op.Write:
		base, most = 100*time.Millisecond, 3
	}
	if attempt >= most {
		return 0, false
	}
	d := min(base<<min(attempt, 4), 1500*time.Millisecond)
	return d/2 + rand.N(d), true
}

// guard lets a write pass only under the Lease.
func (s *Session) guard(op operation) middleware.FinalizeMiddleware {
	return middleware.FinalizeMiddlewareFunc("Fence", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if op.Write {
			if err := s.fence(ctx); err != nil {
				return middleware.FinalizeOutput{}, middleware.Metadata{}, fault.New(fault.Conflict, op.Op, err)
			}
		}
		return next.HandleFinalize(ctx, in)
	})
}

// limit spends a token.
func (s *Session) limit(op operation) middleware.FinalizeMiddleware {
	return middleware.FinalizeMiddlewareFunc("Limit", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if err := s.limiter(op.Action).Wait(ctx); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, fault.New(fault.Throttled, op.Op, fmt.Errorf("waiting for the API budget: %w", err))
		}
		return next.HandleFinalize(ctx, in)
	})
}

func (s *Session) classify(op operation) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("Classify", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		out.Result = out.RawResponse
		return out, meta, classify(op.Op, err)
	})
}
