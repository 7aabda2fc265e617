package cluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// meter shows how far a go build is. It is written what `go build -v` prints,
// one line for each package it had to compile.
type meter struct {
	to      io.Writer
	about   string // what is being built
	total   int
	inPlace bool
	began   time.Time
	stop    chan struct{}
	stopped chan struct{}

	mu   sync.Mutex
	done int
}

// The time between two reports: in place on a terminal, line by line elsewhere.
const (
	meterInPlace = time.Second
	meterLines   = 15 * time.Second
)

func newMeter(to io.Writer, about string, total int) *meter {
	m := &meter{to: to, about: about, total: total, began: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	every := meterLines
	if f, ok := to.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			m.inPlace, every = true, meterInPlace
		}
	}
	fmt.Fprintf(to, "building %s: %d packages to compile\n", about, total)
	go m.run(every)
	return m
}

// Write counts the packages named.
func (m *meter) Write(data []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += bytes.Count(data, []byte("\n"))
	return len(data), nil
}

func (m *meter) run(every time.Duration) {
	defer close(m.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.show()
		}
	}
}

func (m *meter) show() {
	m.mu.Lock()
	done := min(m.done, m.total)
	m.mu.Unlock()
	line := fmt.Sprintf("building %s: %d of %d packages, %s", m.about, done, m.total, m.elapsed())
	if done == m.total {
		line = fmt.Sprintf("building %s: linking, %s", m.about, m.elapsed())
	}
	if m.inPlace {
		fmt.Fprintf(m.to, "\r\033[K%s", line)
		return
	}
	fmt.Fprintln(m.to, line)
}

// finish ends the display with the outcome.
func (m *meter) finish(err error) {
	close(m.stop)
	<-m.stopped
	if m.inPlace {
		fmt.Fprint(m.to, "\r\033[K")
	}
	outcome := "built"
	if err != nil {
		outcome = "not built"
	}
	fmt.Fprintf(m.to, "%s %s after %s\n", strings.TrimPrefix(m.about, "the "), outcome, m.elapsed())
}

func (m *meter) elapsed() time.Duration { return time.Since(m.began).Round(time.Second) }
