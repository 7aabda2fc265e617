package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// line asks line by line over one connection. The application says in its last answer that
// it is going; the client then comes again over a new one, and so it does when the
// connection ends while nothing is asked.
type line struct {
	target Target
	from   *ports
	report func(Sample)

	conn    net.Conn
	opened  time.Time
	answers chan []byte // closed when the connection has ended
	failure error       // why it has, if not in order
}

func (l *line) run(ctx context.Context, rate float64) {
	every(ctx, rate, func() { l.report(l.ask()) })
	l.close()
}

func (l *line) ask() Sample {
	s := Sample{Kind: Long, Site: l.target.Site, To: l.target.Web, Sent: time.Now()}
	s.Err = l.exchange(&s)
	s.Ended = time.Now()
	if s.Err != nil || s.Answer.State == application.StateTerminating {
		l.close()
	}
	return s
}

func (l *line) exchange(s *Sample) error {
	if l.conn != nil {
		select {
		case _, ok := <-l.answers:
			if ok {
				return errors.New("an answer that nobody asked for")
			}
			l.close() // between two requests
		default:
		}
	}
	if l.conn == nil {
		var err error
		if s.From, err = l.open(); err != nil {
			s.Opened = s.Sent
			return err
		}
	}
	s.Opened, s.From = l.opened, l.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if _, err := l.conn.Write([]byte("hello\n")); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case raw, ok := <-l.answers:
		if !ok {
			return fmt.Errorf("the connection ended instead of an answer: %w", l.failure)
		}
		var err error
		s.Answer, err = read(raw)
		return err
	case <-timer.C:
		return errors.New("no answer in time")
	}
}

// open connects, and has answers read.
func (l *line) open() (from netip.AddrPort, err error) {
	l.opened = time.Now()
	conn, from, err := l.from.dial(context.Background(), l.target.Web)
	if err != nil {
		return from, err
	}
	answers := make(chan []byte, 1)
	l.conn, l.answers = conn, answers
	go func() {
		in := bufio.NewReader(conn)
		for {
			raw, err := in.ReadBytes('\n')
			if err != nil {
				l.failure = err // read after the channel is closed
				close(answers)
				return
			}
			answers <- raw
		}
	}()
	return from, nil
}

// close ends the connection and waits for its reader.
func (l *line) close() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Close()
	for range l.answers {
	}
	l.conn = nil
}
