package backend

import "time"

// The states of a task (CLB API, DescribeTaskStatus).
const (
	Succeeded = 0
	Failed    = 1
	Running   = 2
)

// maxTasks is how many tasks are remembered.
const maxTasks = 10_000

// Task is an asynchronous action as it was when asked for.
type Task struct {
	Status          int
	Message         string
	LoadBalancerIDs []string
}

type task struct {
	Task
	deal string
}

// Task finds a task by its id, or by the deal name of CreateLoadBalancer.
func (b *Backend) Task(id, deal string) (Task, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.tasks[id]; t != nil {
		return t.Task, nil
	}
	if deal != "" {
		for _, t := range b.tasks {
			if t.deal == deal {
				return t.Task, nil
			}
		}
	}
	return Task{}, failure("InvalidParameter", "task %s not found.", id+deal)
}

// remember keeps t under id; the oldest tasks are forgotten.
func (b *Backend) remember(id string, t *task) {
	b.tasks[id] = t
	b.taskOrder = append(b.taskOrder, id)
	if len(b.taskOrder) > maxTasks {
		delete(b.tasks, b.taskOrder[0])
		b.taskOrder = b.taskOrder[1:]
	}
}

// free says whether lb takes a write now.
func (b *Backend) free(lb *loadBalancer) error {
	if lb.info.Normal && lb.task == "" && !b.opts.Now().Before(lb.busyUntil) {
		return nil
	}
	return failure("FailedOperation.ResourceInOperating",
		"Loadbalancer(%s) is not in normal desState, maybe some tasks are being processed, please try later.", lb.info.ID)
}

// now runs a write that is done when it is answered.
func (b *Backend) now(op Op, lb *loadBalancer, apply func()) error {
	if err := b.free(lb); err != nil {
		return err
	}
	if op.FailTask != "" {
		return failure("FailedOperation", "%s", op.FailTask)
	}
	apply()
	lb.busyUntil = b.opts.Now().Add(b.opts.Latencies.Busy)
	return nil
}

// start runs a write as a task: apply happens when it finishes. Its error, a failed
// task, is seen by DescribeTaskStatus alone.
func (b *Backend) start(op Op, lbs []*loadBalancer, apply func() error) error {
	for _, lb := range lbs {
		if err := b.free(lb); err != nil {
			return err
		}
	}
	t := &task{Task: Task{Status: Running}}
	for _, lb := range lbs {
		lb.task = op.ID
		t.LoadBalancerIDs = append(t.LoadBalancerIDs, lb.info.ID)
	}
	b.remember(op.ID, t)
	b.later(b.between(b.opts.Latencies.Task), func() {
		t.finish(op, apply)
		for _, lb := range lbs {
			lb.task = ""
			lb.busyUntil = b.opts.Now().Add(b.opts.Latencies.Busy)
		}
	})
	return nil
}

func (t *task) finish(op Op, apply func() error) {
	t.Status = Succeeded
	if op.FailTask != "" {
		t.Status, t.Message = Failed, op.FailTask
		return
	}
	if err := apply(); err != nil {
		t.Status, t.Message = Failed, message(err)
	}
}

// later calls f with the lock held, after a while: at once if d is zero (the caller has
// the lock), or never if the backend is closed first.
func (b *Backend) later(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	if b.closed {
		return
	}
	b.running.Go(func() {
		if !b.wait(d) {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed {
			f()
		}
	})
}

// wait sleeps; it is false if the backend was closed meanwhile.
func (b *Backend) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}
