package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// answer is what a client is told.
func (s *server) answer(client string, port int32) []byte {
	a := s.self
	a.Client, a.Port, a.State = client, port, application.StateStarting
	if s.ready.Load() {
		a.State, a.Ready = application.StateReady, true
	}
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and a number
	}
	return append(data, '\n')
}

func (s *server) serveTCP(l net.Listener, port int32) {
	h := application.NewHandover(l.Addr())
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serveHTTP(w, r, port)
	})}
	go func() { _ = web.Serve(h) }()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn, h, port)
	}
}

// serveConn answers a connection line by line unless it speaks HTTP.
func (s *server) serveConn(conn net.Conn, h *application.Handover, port int32) {
	in := bufio.NewReaderSize(conn, 512)
	if application.SpeaksHTTP(in) {
		h.Give(conn, in)
		return
	}
	defer conn.Close()
	for {
		line, err := application.ReadLine(in)
		if len(line) > 0 {
			if _, err := conn.Write(s.answer(conn.RemoteAddr().String(), port)); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *server) serveHTTP(w http.ResponseWriter, r *http.Request, port int32) {
	code := http.StatusOK
	switch {
	case r.URL.Path == application.ReadyPath && !s.ready.Load():
		code = http.StatusServiceUnavailable
	case r.URL.Path == application.LivePath && r.Method == http.MethodPost:
		s.failing.Store(true) // until the kubelet has started it anew
	case r.URL.Path == application.LivePath && s.failing.Load():
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(s.answer(r.RemoteAddr, port))
}

func (s *server) serveUDP(conn net.PacketConn, port int32) {
	buf := make([]byte, 64<<10)
	for {
		_, client, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(s.answer(client.String(), port), client)
	}
}
