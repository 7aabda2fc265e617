package machine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
)

// nursery starts programs and waits for whatever ends: a first process inherits all
// orphans, the shims of containers among them.
type nursery struct {
	mu       sync.Mutex
	children map[int]*child
}

// child is a program that was started.
type child struct {
	name   string
	log    string
	done   chan struct{} // closed when it has ended
	status syscall.WaitStatus
}

func newNursery() *nursery {
	n := &nursery{children: map[int]*child{}}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGCHLD)
	go func() {
		for range ends {
			n.reap()
		}
	}()
	return n
}

// reap waits for all that have ended. The lock keeps it from meeting a program that has
// started and ended before it is known.
func (n *nursery) reap() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := n.children[pid]; c != nil {
			c.status = status
			delete(n.children, pid)
			close(c.done)
		}
	}
}

func (n *nursery) start(log *os.File, program string, args ...string) (*child, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p, err := os.StartProcess(program, append([]string{program}, args...), &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	c := &child{name: filepath.Base(program), log: log.Name(), done: make(chan struct{})}
	n.children[p.Pid] = c
	return c, p.Release() // reap waits for it
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// end is the error that a program ended, with the last that it said.
func (c *child) end() error {
	return fmt.Errorf("%s ended %s; its log ends: %s", c.name, explain(c.status), tail(c.log))
}

// tail is the end of a file.
func tail(path string) string {
	const most = 1500
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-most):])
}
