package dataplane

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestWebSocket(t *testing.T) {
	s := newStage(t, Options{})
	p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, rw)
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	conn, r := s.upgrade()
	for _, frame := range []string{"frame 1\n", "frame 2\n"} {
		io.WriteString(conn, frame)
		if got, err := r.ReadString('\n'); got != frame {
			t.Fatalf("echoed %q, %v", got, err)
		}
	}
	// A target that is unbound loses it.
	s.rules(Rule{ID: "1", Path: "/"})
	if got, err := r.ReadString('\n'); err == nil {
		t.Errorf("read %q after the target was unbound", got)
	}
}

// upgrade does the handshake of a WebSocket.
func (s *stage) upgrade() (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.l.Addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != "websocket" {
		s.t.Fatalf("the handshake was answered %v %v", response.Status, response.Header)
	}
	return conn, r
}

// TestStreams has a pod that answers a chunk for each that it gets, with trailers both
// ways.
func TestStreams(t *testing.T) {
	s := newStage(t, Options{})
	more := make(chan string)
	trailer := make(chan string, 1)
	p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
			trailer <- r.Trailer.Get("Sum")
		}
		w.Header().Set("Trailer", "Sum")
		for chunk := range more {
			io.WriteString(w, chunk)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Sum", "42")
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})

	body, chunks := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, s.url("/"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"Sum": nil}
	go func() {
		io.WriteString(chunks, "a body")
		r.Trailer.Set("Sum", "23")
		chunks.Close()
		more <- "first"
	}()
	response, err := s.client("127.88.0.1").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	// The second chunk isn't sent before the first was read.
	read("first")
	more <- "second"
	read("second")
	close(more)
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	if got := []string{<-trailer, response.Trailer.Get("Sum")}; !slices.Equal(got, []string{"23", "42"}) {
		t.Errorf("trailers there and back: %q", got)
	}
}

// TestPassesOnAtOnce has a pod that takes its time over an answer of known length.
func TestPassesOnAtOnce(t *testing.T) {
	s := newStage(t, Options{})
	more := make(chan struct{})
	p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, "then.")
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	response := s.do(s.client("127.88.0.1"), "", "/")
	defer response.Body.Close()
	first := make([]byte, 5)
	_, err := io.ReadFull(response.Body, first)
	close(more)
	if err != nil || string(first) != "first" {
		t.Errorf("read %q, %v", first, err)
	}
}

func TestCutAnswerArrivesCut(t *testing.T) {
	s := newStage(t, Options{})
	p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	response := s.do(s.client("127.88.0.1"), "", "/")
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("an answer that ended early looks whole: %q", body)
	}
}
