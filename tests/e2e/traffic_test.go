package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/node"
)

func dialer(client string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: 10 * time.Second}
}

// tryHTTP asks at a load balancer from a client's address, over a connection of its
// own.
func tryHTTP(ctx context.Context, client, vip string, port int) (node.Answer, error) {
	var out node.Answer
	transport := &http.Transport{DialContext: dialer(client).DialContext, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(vip, strconv.Itoa(port))+"/", nil)
	if err != nil {
		return out, err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(body, &out)
}

func (s *space) askHTTP(client, vip string, port int) node.Answer {
	s.t.Helper()
	out, err := tryHTTP(s.t.Context(), client, vip, port)
	s.must(err)
	return out
}

// askLine asks by one line over TCP, or one datagram over UDP.
func (s *space) askLine(network, client, vip string, port int) node.Answer {
	s.t.Helper()
	d := dialer(client)
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(client)}
	}
	conn, err := d.DialContext(s.t.Context(), network, net.JoinHostPort(vip, strconv.Itoa(port)))
	s.must(err)
	defer conn.Close()
	s.must(conn.SetDeadline(time.Now().Add(10 * time.Second)))
	_, err = io.WriteString(conn, "hello\n")
	s.must(err)
	line, err := bufio.NewReader(conn).ReadBytes('}')
	s.must(err)
	var out node.Answer
	s.must(json.Unmarshal(line, &out))
	return out
}

// The client's address is preserved from the load balancer's address to the pod, over
// HTTP, TCP and UDP, and every pod serves.
func TestClientAddressIsPreserved(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), udp(53, intstr.FromInt32(53))))
	for _, n := range []string{"a", "b"} {
		s.pod(n, serving("dns", 53, corev1.ProtocolUDP))
	}
	s.awaitReady("a", "b")
	vip := s.awaitBalancer("web").VIP.String()
	asks := map[string]func(client string) node.Answer{
		"HTTP": func(c string) node.Answer { return s.askHTTP(c, vip, 80) },
		"TCP":  func(c string) node.Answer { return s.askLine("tcp", c, vip, 80) },
		"UDP":  func(c string) node.Answer { return s.askLine("udp", c, vip, 53) },
	}
	for name, ask := range asks {
		served := map[string]bool{}
		for _, client := range []string{"127.0.9.1", "127.0.9.2"} {
			for range 10 {
				a := ask(client)
				seen, err := netip.ParseAddrPort(a.Client)
				s.must(err)
				if seen.Addr().String() != client {
					t.Errorf("%s: want the pod to see %s, it saw %s", name, client, a.Client)
				}
				served[a.Pod] = true
			}
		}
		if len(served) != 2 {
			t.Errorf("%s: want both pods to serve, got %v", name, served)
		}
	}
}

// A rolling update completes, paced by the CLB's health: never fewer pods Ready than
// asked for, and none of them before the CLB found it Alive.
func TestRollingUpdateIsPacedByHealth(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	const replicas = 3
	s.deploy("web", replicas, func(d *appsv1.Deployment) { d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(1)) })
	s.roll("web")
	s.await("the update is through", func() (bool, string) {
		pods, err := s.client.CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{})
		s.must(err)
		ready := 0
		for i := range pods.Items {
			p := &pods.Items[i]
			if p.DeletionTimestamp != nil || !is(p, corev1.PodReady) {
				continue
			}
			ready++
			if s.tagAt(lb.ID, "TCP/80", p.Status.PodIP) != string(p.UID) {
				t.Errorf("pod %s is Ready and not bound", show(p))
			}
		}
		if ready < replicas {
			t.Errorf("want %d pods Ready at any time, got %d", replicas, ready)
		}
		return s.rolled("web")()
	})
	s.await("nothing of the old ones is left", func() (bool, string) {
		targets := s.targets(lb.ID)["TCP/80"]
		return len(targets) == replicas, describe(targets)
	})
	if a := s.askHTTP("127.0.9.3", lb.VIP.String(), 80); a.Namespace != s.name {
		t.Errorf("want an answer of ours, got %+v", a)
	}
	s.settled()
}
