package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sink takes what both forwarders send, and notes what it has been told of which pod.
type sink struct {
	listener net.Listener
	server   *http.Server

	mu sync.Mutex
	// fault answers in the sink's place: a status, 0 for none. Delay is waited first.
	fault  func() int
	delay  time.Duration
	pods   map[string]told
	alls   map[string]told
	events int
}

// told is the newest version that was told, and when it first was.
type told struct {
	version uint64
	at      time.Time
	deleted bool
}

// request is what is read of an event of ours.
type request struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		LoadBalancers   []string `json:"loadBalancers"`
		All             bool     `json:"all"`
		ResourceVersion string   `json:"resourceVersion"`
		Pods            []struct {
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"pods"`
	} `json:"data"`
}

func openSink() (*sink, error) {
	s := &sink{}
	s.forget()
	return s, s.open("127.0.0.1:0")
}

func (s *sink) open(address string) (err error) {
	if s.listener, err = net.Listen("tcp", address); err != nil {
		return fmt.Errorf("opening the sink: %w", err)
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func(server *http.Server, l net.Listener) { _ = server.Serve(l) }(s.server, s.listener)
	return nil
}

func (s *sink) url() string { return "http://" + s.listener.Addr().String() }

func (s *sink) close() { _ = s.server.Close() }

// behave sets how the sink answers from now on.
func (s *sink) behave(delay time.Duration, fault func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.fault = delay, fault
}

// forget has the sink know nothing.
func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods, s.alls, s.events = map[string]told{}, map[string]told{}, 0
}

// ServeHTTP takes an event.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	delay, fault := s.delay, s.fault
	s.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	if fault != nil {
		if status := fault(); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	if kind := r.Header.Get("Ce-Type"); kind != "" {
		s.takeObject(kind, body, at)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	var q request
	if err := json.Unmarshal(body, &q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.takeEvent(q, at)
	w.Header().Set("Content-Type", "application/cloudevents+json")
	fmt.Fprintf(w, `{"specversion":"1.0","id":%q,"type":"io.clb-direct.reply","source":"/bench","data":{}}`, q.ID+"/reply")
}

func (s *sink) takeObject(kind string, body []byte, at time.Time) {
	var o struct {
		Metadata struct {
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if json.Unmarshal(body, &o) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	note(s.pods, o.Metadata.UID, told{number(o.Metadata.ResourceVersion), at, strings.HasSuffix(kind, "delete")})
}

func (s *sink) takeEvent(q request, at time.Time) {
	if !strings.Contains(q.Type, "backends") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	for _, p := range q.Data.Pods {
		note(s.pods, p.UID, told{number(p.ResourceVersion), at, false})
	}
	if q.Data.All {
		for _, lb := range q.Data.LoadBalancers {
			note(s.alls, lb, told{number(q.Data.ResourceVersion), at, false})
		}
	}
}

func note(m map[string]told, k string, t told) {
	if had := m[k]; t.version > had.version || t.deleted {
		m[k] = t
	}
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // 0 is older than everything
	return n
}

// has tells when the sink knew the pod's last state: by its name, or by being told to
// look at all that is behind its CLB.
func (s *sink) has(k *key) (at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.pods[string(k.uid)]; t.version >= k.version && t.version > 0 {
		return t.at, true
	}
	if t := s.alls[k.balancer]; t.version >= k.version && t.version > 0 {
		return t.at, true
	}
	return time.Time{}, false
}

// lacking counts the keys whose last state the sink doesn't know, and tells when it knew
// the last of the others.
func (s *sink) lacking(keys []*key) (n int, last time.Time) {
	for _, k := range keys {
		at, ok := s.has(k)
		if !ok {
			n++
		} else if at.After(last) {
			last = at
		}
	}
	return n, last
}
