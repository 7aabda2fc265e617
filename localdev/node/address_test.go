package node

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func addrs(t *testing.T, b *block, n int) []string {
	t.Helper()
	var got []string
	for range n {
		a, err := b.take()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.String())
	}
	return got
}

func TestBlockGivesAddresses(t *testing.T) {
	prefix := netip.MustParsePrefix("127.200.0.0/29") // own .1, pods .2 to .6
	newBlock := func(reuse bool) *block {
		return &block{prefix: prefix, next: netip.MustParseAddr("127.200.0.2"), reuse: reuse}
	}
	t.Run("NeverUsedFirst", func(t *testing.T) {
		b := newBlock(false)
		addrs(t, b, 2)
		b.give(netip.MustParseAddr("127.200.0.3"))
		b.give(netip.MustParseAddr("127.200.0.2"))
		want := []string{"127.200.0.4", "127.200.0.5", "127.200.0.6", "127.200.0.3", "127.200.0.2"}
		if diff := cmp.Diff(want, addrs(t, b, 5)); diff != "" {
			t.Errorf("fresh ones, then those free for longest (-want +got):\n%s", diff)
		}
		if a, err := b.take(); !errors.Is(err, errNoAddress) {
			t.Errorf("a used-up block gave %s, %v", a, err)
		}
	})
	t.Run("ReuseAtOnce", func(t *testing.T) {
		b := newBlock(true)
		addrs(t, b, 2)
		b.give(netip.MustParseAddr("127.200.0.2"))
		if diff := cmp.Diff([]string{"127.200.0.2", "127.200.0.4"}, addrs(t, b, 2)); diff != "" {
			t.Errorf("the one freed last, then fresh ones (-want +got):\n%s", diff)
		}
	})
}

func TestFleetsKeepOffEachOthersBlocks(t *testing.T) {
	from := netip.MustParsePrefix("127.224.0.0/16") // four blocks
	first, err := claimBlocks(from, 3, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := claimBlocks(from, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, b := range append(first, second...) {
		got = append(got, b.prefix.String()+" "+b.own.String())
	}
	want := []string{"127.224.0.0/18 127.224.0.1", "127.224.64.0/18 127.224.64.1", "127.224.128.0/18 127.224.128.1", "127.224.192.0/18 127.224.192.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	if _, err := claimBlocks(from, 1, false); err == nil {
		t.Error("a block was claimed twice")
	}
	for _, b := range append(first, second...) {
		b.release()
	}
	again, err := claimBlocks(from, 4, false)
	if err != nil {
		t.Fatalf("claiming what was released: %v", err)
	}
	for _, b := range again {
		b.release()
	}
}

func TestListenPorts(t *testing.T) {
	http := func(port intstr.IntOrString, host string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port, Host: host}}}
	}
	tests := map[string]struct {
		reason    string
		container corev1.Container
		want      []port
	}{
		"Nothing":  {"nothing declared, nothing known", corev1.Container{Image: "busybox"}, nil},
		"Image":    {"nginx is known to listen on 80, wherever it comes from", corev1.Container{Image: "ccr.ccs.tencentyun.com/library/nginx:1.27@sha256:00"}, []port{{80, "TCP"}}},
		"NotImage": {"another image of a similar name isn't", corev1.Container{Image: "nginx/nginx-ingress"}, nil},
		"Declared": {"TCP by default, UDP if said, once each, SCTP not at all", corev1.Container{Ports: []corev1.ContainerPort{{ContainerPort: 53, Protocol: "UDP"}, {ContainerPort: 53}, {ContainerPort: 53, Protocol: "TCP"}, {ContainerPort: 9, Protocol: "SCTP"}}}, []port{{53, "TCP"}, {53, "UDP"}}},
		"Probed":   {"probed ports, by number and by name", corev1.Container{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}, ReadinessProbe: http(intstr.FromString("web"), ""), LivenessProbe: http(intstr.FromInt32(8081), "")}, []port{{8080, "TCP"}, {8081, "TCP"}}},
		"Unknown":  {"a name that nothing declares, and another host", corev1.Container{ReadinessProbe: http(intstr.FromString("web"), ""), LivenessProbe: http(intstr.FromInt32(8081), "10.0.0.1")}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := listenPorts(&tc.container, map[string][]int32{"nginx": {80}})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(port{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
