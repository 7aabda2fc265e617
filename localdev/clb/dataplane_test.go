package clb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// pod is a TCP server that greets with its own and its client's address and then
// echoes.
type pod struct {
	addr netip.AddrPort
	ln   net.Listener
}

func newPod(r *rig) *pod {
	t := r.t
	t.Helper()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{ln: ln, addr: ln.Addr().(*net.TCPAddr).AddrPort()}
	t.Cleanup(p.stop)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				fmt.Fprintf(conn, "%s %s\n", p.addr, host)
				io.Copy(conn, conn)
			}()
		}
	}()
	return p
}

func (p *pod) stop() { p.ln.Close() }

// dialVIP connects to a listener from a client address and reads the greeting.
func dialVIP(ctx context.Context, from string, to netip.AddrPort) (net.Conn, *bufio.Reader, string, string, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, nil, "", "", err
	}
	r := bufio.NewReader(conn)
	var pod, client string
	if _, err := fmt.Fscanf(r, "%s %s\n", &pod, &client); err != nil {
		conn.Close()
		return nil, nil, "", "", err
	}
	return conn, r, pod, client, nil
}

func quickCheck(q *api.CreateListenerRequest) {
	q.HealthCheck = &api.HealthCheck{
		IntervalTime: common.Int64Ptr(3), TimeOut: common.Int64Ptr(2), HealthNum: common.Int64Ptr(2), UnHealthNum: common.Int64Ptr(2),
	}
}

func TestForwardKeepsClientAddress(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck)
	p := newPod(r)
	r.bind(lb, batchTarget(l, p.addr, 10))
	r.awaitHealth(lb, p.addr, "Alive")

	for _, client := range []string{"127.88.0.1", "127.88.0.2"} {
		conn, _, gotPod, gotClient, err := dialVIP(t.Context(), client, netip.AddrPortFrom(r.vip(lb), 8080))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if gotPod != p.addr.String() || gotClient != client {
			t.Errorf("a connection from %s reached %s as %s", client, gotPod, gotClient)
		}
	}
}
