package scf

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// spawner starts processes that die with this one. The kernel sends a parent-death
// signal when the thread that forked ends, not the process, so all forks are made by
// one goroutine that keeps its thread for as long as there are instances.
type spawner struct {
	work chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
		close(s.done)
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// A Ctrl-C in the terminal is for the emulator, which then ends its
		// instances; to them it would be a crash in the middle of an event.
		Setpgid: true,
	}
	failed := make(chan error, 1)
	s.work <- func() { failed <- cmd.Start() }
	return <-failed
}

// stop ends the goroutine. No start may come after it.
func (s *spawner) stop() {
	close(s.work)
	<-s.done
}

// Instance ports lie below the range that Linux hands out itself (from 32768), so that
// no outgoing connection takes one between its choice and the instance's listening. The
// range is narrow, and around SCF's own 28902, since an instance listens on all
// addresses and so keeps pods on theirs from using its port.
const (
	firstPort = 28000
	lastPort  = 29999
)

// freePort finds a port nobody listens on.
func freePort() (int, error) {
	const tries = 1000
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		// The runtime library listens on all addresses.
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d in %d tries", firstPort, lastPort, tries)
}

// readPeak is the most resident memory the process has had, in bytes, as /proc tells
// (VmHWM); zero once it has ended.
func readPeak(pid int) int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		rest, found := strings.CutPrefix(line, "VmHWM:")
		if !found {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}

// lineWriter keeps lines of several instances whole on one writer.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) line(prefix string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The operator's terminal being gone is no reason to fail an event.
	_, _ = fmt.Fprintf(l.w, "%s%s\n", prefix, line)
}

// tailSize is how much of an event's log the API returns, in bytes (LogType Tail).
const tailSize = 4 << 10

// processLog takes what one process writes: it passes whole lines on, and keeps the
// end of what came since the event began.
type processLog struct {
	to *lineWriter

	mu      sync.Mutex
	prefix  string
	partial []byte
	tail    []byte
}

// start holds back what the process writes until its start has told the prefix.
func (p *processLog) start(start func() (prefix string, err error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	prefix, err := start()
	p.prefix = prefix
	return err
}

// Write never fails.
func (p *processLog) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = append(p.tail, b...)
	if over := len(p.tail) - tailSize; over > 0 {
		p.tail = append(p.tail[:0], p.tail[over:]...)
	}
	p.partial = append(p.partial, b...)
	for {
		line, rest, found := bytes.Cut(p.partial, []byte{'\n'})
		if !found {
			return len(b), nil
		}
		p.to.line(p.prefix, line)
		p.partial = rest
	}
}

// begin forgets the tail of the event before.
func (p *processLog) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = p.tail[:0]
}

func (p *processLog) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.tail)
}

// flush passes on a last line that has no end.
func (p *processLog) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.partial) > 0 {
		p.to.line(p.prefix, p.partial)
		p.partial = nil
	}
}
