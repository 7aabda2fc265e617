package clb

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestHealthThresholds(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain)
	down := s.pods[0]
	down.stop()
	s.awaitHealth(s.lb, down.addr, "Dead")
	if diff := cmp.Diff([]int{0, 6}, s.spread(6)); diff != "" {
		t.Errorf("a dead pod gets nothing: -want +got:\n%s", diff)
	}
	ln, err := net.Listen("tcp", down.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.awaitHealth(s.lb, down.addr, "Alive")
}

func TestRebornTargetIsUnknown(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{HealthSwitch: i64(0)} })
	p := newPod(r)
	r.bind(lb, batchTarget(l, p.addr, 10))
	if got := r.health(lb)[p.addr.String()]; got != "Close" {
		t.Fatalf("with the switch off a target is %s, want Close", got)
	}
	if v, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080)); err != nil {
		t.Errorf("and gets traffic: %v", err)
	} else {
		v.Close()
	}

	modify := func(hc api.HealthCheck) {
		q := api.NewModifyListenerRequest()
		q.LoadBalancerId, q.ListenerId, q.HealthCheck = &lb, &l, &hc
		r.done(must[*api.ModifyListenerResponse](t)(r.client.ModifyListener(q)).Response.RequestId)
	}
	modify(api.HealthCheck{HealthSwitch: i64(1), IntervalTime: i64(3), HealthNum: i64(2)})
	r.awaitHealth(lb, p.addr, "Alive")
	// 300 of the test's short seconds are 3 s: no second check comes before the end.
	modify(api.HealthCheck{IntervalTime: i64(300)})
	if got := r.health(lb)[p.addr.String()]; got != "Alive" {
		t.Errorf("a change of settings keeps the verdict, it is %s", got)
	}
	r.unbind(lb, batchTarget(l, p.addr, 10))
	r.bind(lb, batchTarget(l, p.addr, 10))
	if got := r.health(lb)[p.addr.String()]; got != "Unknown" {
		t.Errorf("a target bound again is %s, want Unknown", got)
	}
	if _, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a target being detected gets no traffic, got %v", err)
	}
}

func TestAllDead(t *testing.T) {
	for name, refuse := range map[string]bool{"AllAlive": false, "Refuse": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.RefuseDead = refuse })
			lb := r.instance()
			// The check looks at a port where nothing is.
			l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) { q.HealthCheck.CheckPort = i64(1) })
			serving, drained := newPod(r), newPod(r)
			r.bind(lb, batchTarget(l, serving.addr, 10), batchTarget(l, drained.addr, 0))
			vip := netip.AddrPortFrom(r.vip(lb), 8080)
			r.awaitHealth(lb, serving.addr, "Dead")
			r.awaitHealth(lb, drained.addr, "Dead")
			for range 2 {
				v, err := connect("127.88.0.1", vip)
				if refused := errors.Is(err, syscall.ECONNRESET); refused != refuse {
					t.Errorf("with all targets dead a connection was refused: %v (%v), want %v", refused, err, refuse)
				}
				if err != nil {
					continue
				}
				if v.pod != serving.addr.String() {
					t.Errorf("all dead is all alive, but not at weight 0: reached %s", v.pod)
				}
				v.Close()
			}
		})
	}
}

func TestWeightZeroIsChecked(t *testing.T) {
	t.Run("Documented", func(t *testing.T) {
		s := newStage(t, []int{0}, plain)
		if _, err := connect("127.88.0.1", s.vip); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("alive at weight 0 gets no traffic, got %v", err)
		}
	})
	t.Run("Skipped", func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.SkipWeightZero = true })
		lb := r.instance()
		l := r.listener(lb, "TCP", 8080, quickCheck)
		zero, one := newPod(r), newPod(r)
		r.bind(lb, batchTarget(l, zero.addr, 0), batchTarget(l, one.addr, 1))
		r.awaitHealth(lb, one.addr, "Alive")
		r.unbind(lb, batchTarget(l, one.addr, 1))
		r.bind(lb, batchTarget(l, one.addr, 1))
		r.awaitHealth(lb, one.addr, "Alive")
		if got := r.health(lb)[zero.addr.String()]; got != "Unknown" {
			t.Errorf("unchecked at weight 0 is %s, want Unknown", got)
		}
		r.weigh(lb, l, target(zero.addr, 1))
		r.awaitHealth(lb, zero.addr, "Alive")
	})
}

func TestHTTPCheck(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	var seen atomic.Pointer[http.Request]
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) {
		q.HealthCheck.CheckType, q.HealthCheck.HttpCheckDomain, q.HealthCheck.HttpVersion = str("HTTP"), str("a.example"), str("HTTP/1.1")
		q.HealthCheck.HttpCheckPath, q.HealthCheck.HttpCheckMethod, q.HealthCheck.HttpCode = str("/ready"), str("GET"), i64(2+8)
	})
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		seen.Store(q)
		w.WriteHeader(int(status.Load()))
	})}
	go server.Serve(ln)
	defer server.Close()
	pod := ln.Addr().(*net.TCPAddr).AddrPort()
	r.bind(lb, batchTarget(l, pod, 10))

	r.awaitHealth(lb, pod, "Dead")
	status.Store(http.StatusNoContent)
	r.awaitHealth(lb, pod, "Alive")
	status.Store(http.StatusFound)
	r.awaitHealth(lb, pod, "Dead")
	status.Store(http.StatusNotFound)
	r.awaitHealth(lb, pod, "Alive")

	q := seen.Load()
	from, _, _ := net.SplitHostPort(q.RemoteAddr)
	got := []string{q.Method, q.URL.Path, q.Host, from}
	if diff := cmp.Diff([]string{"GET", "/ready", "a.example", r.vip(lb).String()}, got); diff != "" {
		t.Errorf("the request of a check: -want +got:\n%s", diff)
	}
}

func TestCustomCheck(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) {
		q.HealthCheck.CheckType, q.HealthCheck.ContextType = str("CUSTOM"), str("HEX")
		q.HealthCheck.SendContext, q.HealthCheck.RecvContext = str("50494E47"), str("504F4E47")
	})
	var answers []netip.AddrPort
	for _, answer := range []string{"PONG", "PANG"} {
		ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go serve(ln, func(conn net.Conn) {
			buf := make([]byte, 4)
			if _, err := io.ReadFull(conn, buf); err == nil && string(buf) == "PING" {
				io.WriteString(conn, answer)
			}
		})
		answers = append(answers, ln.Addr().(*net.TCPAddr).AddrPort())
		r.bind(lb, batchTarget(l, answers[len(answers)-1], 10))
	}
	r.awaitHealth(lb, answers[0], "Alive")
	r.awaitHealth(lb, answers[1], "Dead")
}
