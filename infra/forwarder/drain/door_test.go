package drain

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestFixedDoor(t *testing.T) {
	d, err := NewDoor(nil, "", "", "10.1.2.3:8443")
	if err != nil {
		t.Fatal(err)
	}
	a, ok := d.Hook()
	b, _ := d.Hook()
	if !ok || a.Host != "10.1.2.3" || a.Port != 8443 {
		t.Errorf("got %+v", a)
	}
	if a.Token == b.Token || len(a.Token) < 20 {
		t.Errorf("tokens %q and %q: want two that nobody guesses", a.Token, b.Token)
	}
}

func TestRefusedDoors(t *testing.T) {
	for name, address := range map[string]string{"NoPort": "10.1.2.3", "Word": "10.1.2.3:https"} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewDoor(nil, "", "", address); err == nil || !strings.Contains(err.Error(), "drain address") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestDoorOfAService: no hooks before its address is known, and that one for as long as it
// isn't another.
func TestDoorOfAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		d, err := NewDoor(client, "sys", "drain", "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go d.Run(ctx, time.Minute, slog.New(slog.DiscardHandler))
		synctest.Wait()
		if _, ok := d.Hook(); ok {
			t.Error("hooks lead nowhere")
		}
		services := client.CoreV1().Services("sys")
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "sys", Name: "drain"}, Spec: corev1.ServiceSpec{ClusterIP: "172.16.0.9"}}
		if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h, ok := d.Hook(); !ok || h.Host != "172.16.0.9" || h.Port != 443 {
			t.Errorf("got %+v, %t", h, ok)
		}
		if err := services.Delete(ctx, "drain", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h, ok := d.Hook(); !ok || h.Host != "172.16.0.9" {
			t.Errorf("it can't be read: got %+v, %t, want what was known last", h, ok)
		}
		s.Spec.ClusterIP = corev1.ClusterIPNone
		if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := d.Hook(); ok {
			t.Error("a Service without an address leads nowhere")
		}
		cancel()
		synctest.Wait()
	})
}
