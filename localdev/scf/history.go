package scf

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// Invocation is one attempt to run a function.
type Invocation struct {
	// RequestID is the platform's id: FunctionRequestId, and X-Scf-Request-Id.
	RequestID string
	// Key and Function are the function's key in the manifest and its name.
	Key, Function string
	// Via is the action Invoke or InvokeFunction, or url, timer, ckafka, eventbridge or
	// console.
	Via string
	// Async tells that nobody waits for the answer; Retry counts the tries before this
	// one. The tries of an asynchronous event have one RequestID.
	Async bool
	Retry int
	// Payload is the event as the process gets it; only OnInvoke is given it.
	Payload []byte
	// Start is when the event came, Handed when its instance got it (zero if none
	// did), End when the outcome was known (zero while it runs).
	Start, Handed, End time.Time
	// Cold tells that the event had to wait for a new instance.
	Cold bool
	// PID is the instance's process; zero if there was none.
	PID int
	// Status is how it ended; zero while it runs.
	Status Status
	// Message says what went wrong.
	Message string
	// Killed tells that Server.Kill ended it.
	Killed bool
	// Memory is the instance's peak resident memory at the end, in bytes.
	Memory int64
}

// maxHistory bounds what is remembered.
const maxHistory = 100_000

// attempt is an Invocation being changed; history's lock guards it.
type attempt struct {
	Invocation
	in     *instance // while it may be killed
	answer string    // the beginning of an asynchronous one, for GetRequestStatus
}

// maxAnswer bounds what is remembered of an answer, in bytes.
const maxAnswer = 4 << 10

// history is the log of invocations and knows which of them run.
type history struct {
	mu       sync.Mutex
	attempts []*attempt
	running  map[string]*attempt
}

func (h *history) begin(inv Invocation) *attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.attempts) >= maxHistory {
		h.attempts = slices.Clone(h.attempts[maxHistory/2:])
	}
	a := &attempt{Invocation: inv}
	h.attempts = append(h.attempts, a)
	return a
}

// attach makes the attempt one that kill finds.
func (h *history) attach(a *attempt, in *instance, cold bool) Invocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.in, a.Cold, a.PID = in, cold, in.cmd.Process.Pid
	if h.running == nil {
		h.running = map[string]*attempt{}
	}
	h.running[a.RequestID] = a
	return a.Invocation
}

// handed notes that the process is given the event now, unless it was killed before.
func (h *history) handed(a *attempt, now time.Time) (killed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !a.Killed {
		a.Handed = now
	}
	return a.Killed
}

// detach is attach undone. After it kill can't reach the instance any more, and what
// it says of having been killed is final.
func (h *history) detach(a *attempt) (killed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, a.RequestID)
	a.in = nil
	return a.Killed
}

func (h *history) finish(a *attempt, r result) Invocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.End, a.Status, a.Memory = time.Now(), StatusOK, r.memory
	if r.failure != nil {
		a.Status, a.Message = r.failure.StatusCode, r.failure.ErrorMessage
	}
	if a.Async {
		a.answer = string(r.payload[:min(len(r.payload), maxAnswer)])
	}
	return a.Invocation
}

func (h *history) list() []Invocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Invocation, len(h.attempts))
	for i, a := range h.attempts {
		all[i] = a.Invocation
	}
	return all
}

// request lists the tries of one request, oldest first, with their answers.
func (h *history) request(id string) (tries []Invocation, answers []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.attempts {
		if a.RequestID == id {
			tries, answers = append(tries, a.Invocation), append(answers, a.answer)
		}
	}
	return tries, answers
}

func (h *history) kill(target string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var killed []string
	for id, a := range h.running {
		if target == id || target == a.Key || target == a.Function {
			a.Killed = true
			a.in.signal(syscall.SIGKILL)
			killed = append(killed, id)
		}
	}
	slices.Sort(killed)
	return killed
}
