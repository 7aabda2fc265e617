package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a component may take to end after SIGTERM. Its state is
// thrown away, so the only thing waited for is a clean log.
const stopGrace = 5 * time.Second

// process is a started component.
type process struct {
	name Component
	spec spec
	pid  int
	done chan struct{} // closed when the process has been waited for
	err  error         // what Wait returned; read after done
}

// startProcess starts a component in a process group of its own, so that a
// Ctrl-C in the terminal reaches only the parent, which ends things in order.
//
// Should the parent be killed, the kernel kills the child (Pdeathsig). The
// kernel takes "parent" to be the thread that forked, so that thread is pinned
// to a goroutine which lives as long as the child.
func startProcess(name Component, s spec) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(s.logFile), 0o700); err != nil {
		return nil, fmt.Errorf("making the log folder: %w", err)
	}
	logFile, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	var out io.Writer = logFile
	if s.log != nil {
		out = io.MultiWriter(logFile, &prefixer{prefix: string(name) + ": ", to: s.log})
	}
	cmd := exec.Command(s.program, s.args...)
	cmd.Env = s.env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{name: name, spec: s, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer logFile.Close()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends sig unless the process has already been waited for: its id may
// belong to another process by then.
func (p *process) signal(sig syscall.Signal) error {
	if p.ended() {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// stop asks the process to end, insists after stopGrace, and waits for it.
func (p *process) stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return nil
	case <-grace.C:
		return p.kill()
	}
}

func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// stopAll stops processes side by side; nil ones are passed over.
func stopAll(processes ...*process) error {
	errs := make([]error, len(processes))
	var wg sync.WaitGroup
	for i, p := range processes {
		if p != nil {
			wg.Go(func() { errs[i] = p.stop() })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// explainEnd says why a process that should run doesn't.
func (p *process) explainEnd() error {
	end := tail(p.spec.logFile)
	if strings.Contains(end, "address already in use") {
		return fmt.Errorf("%s ended: %w; its log ends:\n%s", p.name, errPortTaken, end)
	}
	return fmt.Errorf("%s ended (%v); its log ends:\n%s", p.name, p.err, end)
}

// tail returns the last lines of a log, at most 4 KiB.
func tail(path string) string {
	const most = 4 << 10
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(data) > most {
		data = data[len(data)-most:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	return string(data)
}

// prefixer writes whole lines to another writer, each after a prefix, so that
// the output of several components can share it.
type prefixer struct {
	prefix string
	to     io.Writer
	rest   []byte
}

func (w *prefixer) Write(data []byte) (int, error) {
	w.rest = append(w.rest, data...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(data), nil
		}
		line := append([]byte(w.prefix), w.rest[:i+1]...)
		w.rest = w.rest[i+1:]
		if _, err := w.to.Write(line); err != nil {
			return 0, err
		}
	}
}
