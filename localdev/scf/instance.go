package scf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tencentyun/scf-go-lib/cloudfunction/messages"
)

const (
	// readyPoll is how often a starting process is asked whether it listens.
	readyPoll = 2 * time.Millisecond
	// memoryPoll is how often a running one is measured. The kernel keeps the peak,
	// so nothing is missed between two looks, only found out later.
	memoryPoll = 20 * time.Millisecond
)

// instance is one process of a function. It has one event at a time, so whoever holds
// it needs no lock.
type instance struct {
	fn      *function
	cmd     *exec.Cmd
	client  *rpc.Client
	log     *processLog
	scratch string
	exited  chan struct{} // closed once the process is reaped
	reaper  *time.Timer   // ends it when idle for too long
}

// startInstance starts a process and waits until it answers a ping, and no less than
// the cold start takes. The context ends the wait.
func startInstance(ctx context.Context, fn *function) (*instance, *Failure) {
	began := time.Now()
	// A port found free may be taken before the process listens on it. Only then is
	// there a second try: a process that fails otherwise is not run again.
	const tries = 3
	for try := 1; ; try++ {
		in, failure := startProcess(ctx, fn)
		if failure == nil {
			failure = pause(ctx, fn.server.opts.ColdStart-time.Since(began))
		}
		if failure == nil {
			return in, nil
		}
		if in != nil {
			in.end()
			if try < tries && strings.Contains(in.log.text(), syscall.EADDRINUSE.Error()) {
				continue
			}
		}
		return nil, failure
	}
}

func startProcess(ctx context.Context, fn *function) (*instance, *Failure) {
	s := fn.server
	internal := func(err error) *Failure {
		return &Failure{ErrorMessage: "starting an instance: " + err.Error(), StatusCode: StatusInternal}
	}
	port, err := freePort()
	if err != nil {
		return nil, internal(err)
	}
	scratch, err := os.MkdirTemp(s.scratch, fn.Key+"-")
	if err != nil {
		return nil, internal(err)
	}

	in := &instance{fn: fn, scratch: scratch, exited: make(chan struct{}), log: &processLog{to: s.output}}
	in.cmd = exec.Command(filepath.Join(s.code, fn.Handler))
	in.cmd.Dir = s.code
	in.cmd.Env = fn.environ(port, s.code, scratch)
	in.cmd.Stdout = in.log
	in.cmd.Stderr = in.log
	// A child of the function that keeps its output open must not keep us waiting.
	in.cmd.WaitDelay = time.Second
	if err := in.log.start(func() (string, error) {
		err := s.spawner.start(in.cmd)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s[%d] ", fn.Key, in.cmd.Process.Pid), nil
	}); err != nil {
		_ = os.RemoveAll(scratch)
		return nil, internal(err)
	}
	s.mu.Lock()
	s.live[in] = struct{}{}
	s.mu.Unlock()
	go in.reap()
	return in, in.awaitReady(ctx, port)
}

func (in *instance) reap() {
	// How it ended is of no use: whatever the exit code, an event it had is lost.
	_ = in.cmd.Wait()
	in.log.flush()
	_ = os.RemoveAll(in.scratch)
	s := in.fn.server
	s.mu.Lock()
	delete(s.live, in)
	s.mu.Unlock()
	close(in.exited)
}

// awaitReady connects to the process and pings it within the init timeout.
func (in *instance) awaitReady(ctx context.Context, port int) *Failure {
	limit := time.NewTimer(in.fn.InitTimeout)
	defer limit.Stop()
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()

	var ping chan *rpc.Call // nil until connected
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for {
		select {
		case <-in.exited:
			return &Failure{
				ErrorMessage: "The process exited before it was ready: " + strings.TrimSpace(in.log.text()),
				StatusCode:   StatusContainerExited,
			}
		case <-limit.C:
			return &Failure{
				ErrorMessage: fmt.Sprintf("The process was not ready after %d seconds", in.fn.InitTimeout/time.Second),
				StatusCode:   StatusInitTimeout,
			}
		case <-ctx.Done():
			return closing()
		case call := <-ping:
			if call.Error != nil {
				return &Failure{ErrorMessage: "Function.Ping: " + call.Error.Error(), StatusCode: StatusInternal}
			}
			return nil
		case <-poll.C:
			if ping != nil {
				continue
			}
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				continue
			}
			in.client = rpc.NewClient(conn)
			ping = in.ping()
		}
	}
}

func (in *instance) ping() chan *rpc.Call {
	return in.client.Go("Function.Ping", &messages.PingRequest{}, &messages.PingResponse{}, make(chan *rpc.Call, 1)).Done
}

// thaw lets a frozen process run again and tells whether it does: one that died in
// the meantime must not cost an event.
func (in *instance) thaw(ctx context.Context) bool {
	in.signal(syscall.SIGCONT)
	select {
	case call := <-in.ping():
		return call.Error == nil
	case <-in.exited:
		return false
	case <-ctx.Done():
		return false
	}
}

// result is what came of handing one event to an instance.
type result struct {
	payload []byte
	failure *Failure
	memory  int64 // peak of the instance so far, in bytes
	recycle bool  // the instance is of no further use
}

// handle gives the process one event and waits for its answer, its end, or the limit
// it passes first. After it the process is either frozen or ended.
func (in *instance) handle(ctx context.Context, request *messages.InvokeRequest) result {
	var response messages.InvokeResponse
	call := in.client.Go("Function.Invoke", request, &response, make(chan *rpc.Call, 1))
	r := in.await(ctx, call)
	if r.failure == nil {
		r.payload, r.failure = response.Payload, userFailure(response.Error)
		r.recycle = response.Error != nil && response.Error.ShouldExit
	}
	if r.recycle {
		in.end()
		return r
	}
	in.signal(syscall.SIGSTOP)
	return r
}

func (in *instance) await(ctx context.Context, call *rpc.Call) result {
	var r result
	limit := time.NewTimer(in.fn.Timeout)
	defer limit.Stop()
	poll := time.NewTicker(memoryPoll)
	defer poll.Stop()

	fail := func(status Status, format string, args ...any) result {
		r.failure = &Failure{ErrorMessage: fmt.Sprintf(format, args...), StatusCode: status}
		r.recycle = true
		return r
	}
	for {
		select {
		case done := <-call.Done:
			if r.memory = in.measure(r.memory); r.memory > in.fn.memoryLimit() {
				return fail(StatusMemory, "Task memory exceeded %d MB", in.fn.MemoryMB)
			}
			var remote rpc.ServerError
			switch {
			case done.Error == nil:
				return r
			case errors.As(done.Error, &remote):
				return fail(StatusInternal, "Function.Invoke: %v", done.Error)
			default:
				// The connection broke: the process is gone, or as good as.
				return fail(StatusProcessExit, "%s", StatusProcessExit)
			}
		case <-in.exited:
			// It may have answered just before.
			select {
			case done := <-call.Done:
				if done.Error == nil {
					r.recycle = true
					return r
				}
			default:
			}
			return fail(StatusProcessExit, "%s", StatusProcessExit)
		case <-limit.C:
			return fail(StatusTimeout, "Invoking task timed out after %d seconds", in.fn.Timeout/time.Second)
		case <-poll.C:
			if r.memory = in.measure(r.memory); r.memory > in.fn.memoryLimit() {
				return fail(StatusMemory, "Task memory exceeded %d MB", in.fn.MemoryMB)
			}
		case <-ctx.Done():
			r.failure, r.recycle = closing(), true
			return r
		}
	}
}

// measure reads the peak memory of the process, which is what counts against the
// limit; last is kept for one that has just ended.
func (in *instance) measure(last int64) int64 {
	peak := max(last, readPeak(in.cmd.Process.Pid))
	in.fn.notePeak(peak)
	return peak
}

// signal is without effect on a process that has ended.
func (in *instance) signal(s syscall.Signal) { _ = in.cmd.Process.Signal(s) }

// alive tells whether the process has not been reaped yet.
func (in *instance) alive() bool {
	select {
	case <-in.exited:
		return false
	default:
		return true
	}
}

// end kills the process and waits until it is gone.
func (in *instance) end() {
	in.signal(syscall.SIGKILL)
	<-in.exited
	if in.client != nil {
		_ = in.client.Close()
	}
}

// userFailure is what the platform makes of an error that the function returned or of
// its panic.
func userFailure(e *messages.InvokeResponse_Error) *Failure {
	if e == nil {
		return nil
	}
	var stack strings.Builder
	for _, frame := range e.StackTrace {
		fmt.Fprintf(&stack, "%s\n\t%s:%d\n", frame.Label, frame.Path, frame.Line)
	}
	return &Failure{ErrorMessage: e.Message, StackTrace: stack.String(), StatusCode: StatusUserCode}
}

func closing() *Failure {
	return &Failure{ErrorMessage: "The emulator is closing", StatusCode: StatusInternal}
}

func pause(ctx context.Context, d time.Duration) *Failure {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return closing()
	}
}
