package kubelet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// Journal hears of containers what happens to them, by a connection that each opens as it
// starts and that ends with it.
type Journal struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	past  map[string][]node.Moment // by pod UID
}

func openJournal(at netip.Addr) (*Journal, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(at.String(), "0"))
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &Journal{listener: l, conns: map[net.Conn]struct{}{}, past: map[string][]node.Moment{}}
	j.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			j.mu.Lock()
			j.conns[conn] = struct{}{}
			j.mu.Unlock()
			j.wg.Go(func() { j.listen(conn) })
		}
	})
	return j, nil
}

// Address is the journal's host and port.
func (j *Journal) Address() string { return j.listener.Addr().String() }

// listen notes what a container says, and its end.
func (j *Journal) listen(conn net.Conn) {
	defer func() {
		conn.Close()
		j.mu.Lock()
		delete(j.conns, conn)
		j.mu.Unlock()
	}()
	var note application.Note
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if json.Unmarshal(lines.Bytes(), &note) == nil {
			j.add(note, node.What(note.What), note.At)
		}
	}
	if note.UID != "" {
		j.add(note, node.Exited, time.Now())
	}
}

func (j *Journal) add(n application.Note, what node.What, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.past[n.UID] = append(j.past[n.UID], node.Moment{What: what, Container: n.Container, At: at})
}

// Moments returns what happened to a pod's containers, in order, also of a pod that is gone.
func (j *Journal) Moments(uid string) []node.Moment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.past[uid])
}

func (j *Journal) close() error {
	err := j.listener.Close()
	j.mu.Lock()
	for c := range j.conns {
		_ = c.Close()
	}
	j.mu.Unlock()
	j.wg.Wait()
	return err
}
