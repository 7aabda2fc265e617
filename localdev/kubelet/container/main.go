// Command container is what runs in the containers of a node with a real kubelet: one
// static program that is a whole image.
//
//	container        an application as package application describes it
//	container pause  the sandbox's process: waits for SIGTERM
//
// The application is set by environment variables:
//
//	LISTEN          where it listens: tcp:80,udp:53 and so on (default tcp:80)
//	READY_DELAY     time from its start until ReadyPath answers 200 (Go duration, default none)
//	START_DELAY     time from its start until it listens
//	EXIT_AFTER      time from its start until it ends by itself (default never)
//	EXIT_CODE       the code that it then ends with (default 1)
//	IGNORE_SIGTERM  true: it goes on as if nothing had happened
//	JOURNAL         host:port that is told what happens to it, line by line
//
// It ends on SIGTERM at once, in the middle of whatever it does, as nginx does: the worst
// case for requests on their way. It knows who it is without being told, by the files that
// the kubelet mounts into every container.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		<-ctx.Done()
		return
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

// server is the application.
type server struct {
	self    application.Answer
	ready   atomic.Bool
	failing atomic.Bool // liveness
}

// listening is a port.
type listening struct {
	network string
	port    int32
}

func run(ctx context.Context) error {
	ports, err := readListen(os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	startDelay, err := readDuration("START_DELAY")
	if err != nil {
		return err
	}
	readyDelay, err := readDuration("READY_DELAY")
	if err != nil {
		return err
	}
	exitAfter, err := readDuration("EXIT_AFTER")
	if err != nil {
		return err
	}
	exitCode, err := strconv.ParseUint(cmp.Or(os.Getenv("EXIT_CODE"), "1"), 10, 8)
	if err != nil {
		return fmt.Errorf("EXIT_CODE is %q, must be a number from 0 to 255", os.Getenv("EXIT_CODE"))
	}
	if exitAfter > 0 {
		time.AfterFunc(exitAfter, func() { os.Exit(int(exitCode)) })
	}
	self, container := whoAmI()
	s := &server{self: self}
	journal := openJournal(os.Getenv("JOURNAL"), application.Note{UID: self.UID, Pod: self.Pod, Container: container})
	journal.say(application.NoteStarted)
	if !pause(ctx, startDelay) {
		journal.say(application.NoteTerminated)
		return nil
	}
	for _, p := range ports {
		if err := s.listen(p); err != nil {
			return err
		}
	}
	time.AfterFunc(readyDelay, func() { s.ready.Store(true) })
	<-ctx.Done()
	journal.say(application.NoteTerminated)
	if os.Getenv("IGNORE_SIGTERM") == "true" {
		select {}
	}
	return nil
}

// pause waits; false means that it is time to end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func readDuration(name string) (time.Duration, error) {
	raw := os.Getenv(name)
	if raw == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s is %q, must be a duration such as 1.5s", name, raw)
	}
	return d, nil
}

// readListen reads LISTEN.
func readListen(raw string) ([]listening, error) {
	if raw == "" {
		raw = "tcp:80"
	}
	var out []listening
	for word := range strings.SplitSeq(raw, ",") {
		network, number, _ := strings.Cut(strings.TrimSpace(word), ":")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 || network != "tcp" && network != "udp" {
			return nil, fmt.Errorf("LISTEN has %q, must be tcp:port or udp:port", word)
		}
		out = append(out, listening{network, int32(n)})
	}
	return out, nil
}

func (s *server) listen(p listening) error {
	at := net.JoinHostPort("", strconv.Itoa(int(p.port)))
	if p.network == "udp" {
		conn, err := net.ListenPacket("udp4", at)
		if err != nil {
			return err
		}
		go s.serveUDP(conn, p.port)
		return nil
	}
	l, err := net.Listen("tcp4", at)
	if err != nil {
		return err
	}
	go s.serveTCP(l, p.port)
	return nil
}
