package clb

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

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
