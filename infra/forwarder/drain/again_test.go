package drain

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// replicas are two gates behind one address, and a client like a kubelet's.
func replicas(t *testing.T) (gates [2]*rig, servers [2]*httptest.Server, client *http.Client, leads *atomic.Int32) {
	t.Helper()
	leads = &atomic.Int32{}
	for i := range gates {
		gates[i] = newRig(func(o *Options) { o.Propagation = time.Millisecond })
		mux := http.NewServeMux()
		mux.Handle(Pattern, gates[i])
		servers[i] = httptest.NewUnstartedServer(mux)
		servers[i].Config.ConnContext = Connection
		servers[i].StartTLS()
		t.Cleanup(servers[i].Close)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, servers[leads.Load()].Listener.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return gates, servers, &http.Client{Transport: transport}, leads
}

// get runs a hook, and gives what it was answered.
func get(t *testing.T, client *http.Client) string {
	t.Helper()
	res, err := client.Get("https://drain.example" + hook)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func awaitHeld(t *testing.T, g *rig) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.Held() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is held")
		}
	}
}

// TestHoldOutlivesItsReplica: the replica that holds a hook is killed; another holds it on,
// and the kubelet notices nothing.
func TestHoldOutlivesItsReplica(t *testing.T) {
	gates, servers, client, leads := replicas(t)
	answer := make(chan string)
	go func() { answer <- get(t, client) }()
	awaitHeld(t, gates[0])
	leads.Store(1)
	servers[0].CloseClientConnections()
	awaitHeld(t, gates[1])
	select {
	case got := <-answer:
		t.Fatalf("it was answered %q before it was drained", got)
	default:
	}
	gates[1].say(true, true)
	if got := <-answer; got != "drained\n" {
		t.Errorf("got %q", got)
	}
	gates[1].mu.Lock()
	defer gates[1].mu.Unlock()
	if !slices.Equal(gates[1].ended, []Outcome{Drained}) {
		t.Errorf("the second replica's holds ended as %v", gates[1].ended)
	}
}

// TestHeldAtOnceWithoutKeepAlive: who keeps no connection is not sent around.
func TestHeldAtOnceWithoutKeepAlive(t *testing.T) {
	gates, _, client, _ := replicas(t)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		t.Error("it was sent around")
		return nil
	}
	gates[0].say(true, true)
	if got := get(t, client); got != "drained\n" {
		t.Errorf("got %q", got)
	}
}
