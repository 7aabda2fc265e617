package node

import (
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// What names a moment in a container's life.
type What string

// The moments that a journal holds.
const (
	Started    What = "started"
	HookBegan  What = "preStop began"
	HookEnded  What = "preStop ended"
	HookFailed What = "preStop failed" // after HookEnded, where it got no answer
	Terminated What = "SIGTERM"
	Killed     What = "SIGKILL"
	Exited     What = "exited"
)

// Moment is something that happened to a container.
type Moment struct {
	What        What
	Container   string
	ContainerID string
	At          time.Time
}

// journalSize bounds how many pods are remembered, the latest ones.
const journalSize = 20000

// journal remembers what happened to pods, past their end.
type journal struct {
	mu      sync.Mutex
	records map[types.UID]*record
	order   []types.UID
}

// record is one pod's part of the journal.
type record struct {
	served atomic.Int64
	mu     sync.Mutex
	past   []Moment
}

func (j *journal) open(uid types.UID) *record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.records[uid]; r != nil {
		return r
	}
	if len(j.order) == journalSize {
		delete(j.records, j.order[0])
		j.order = j.order[1:]
	}
	r := &record{}
	j.records[uid] = r
	j.order = append(j.order, uid)
	return r
}

func (j *journal) find(uid types.UID) *record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.records[uid]
}

func (w *worker) note(c *container, what What) {
	w.record.mu.Lock()
	defer w.record.mu.Unlock()
	w.record.past = append(w.record.past, Moment{What: what, Container: c.spec.Name, ContainerID: c.id, At: w.fleet.now()})
}

// RequestsServed returns how many requests a pod's application has answered:
// HTTP requests other than kubelet probes, lines over plain TCP, datagrams. It
// counts all starts of all containers, also of a pod that is gone.
func (f *Fleet) RequestsServed(pod types.UID) int64 {
	if r := f.journal.find(pod); r != nil {
		return r.served.Load()
	}
	return 0
}

// Moments returns what happened to a pod's containers, in order, also of a pod
// that is gone.
func (f *Fleet) Moments(pod types.UID) []Moment {
	r := f.journal.find(pod)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Moment(nil), r.past...)
}
