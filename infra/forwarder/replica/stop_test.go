package replica

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"
)

// testStopping has nodes go on sending drain hooks to a replica that was told to stop, as
// they do until everybody knows that it is no endpoint any more: each is answered, and
// when nobody asks it ends.
func testStopping(t *testing.T, w *world) {
	r, stop := w.start(t, "replica-3")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // as a kubelet
	ask := func() {
		t.Helper()
		res, err := client.Get("https://" + r.WebhookAddress() + "/drain/default/nobody/app")
		if err != nil {
			t.Errorf("a hook was not answered: %v", err)
			return
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("a hook of nobody's: %s", res.Status)
		}
	}
	ask()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	tick := time.NewTicker(quiet / 10)
	defer tick.Stop()
	for range 30 {
		ask()
		<-tick.C
	}
	select {
	case <-stopped:
		t.Error("it stopped while it was asked")
	default:
	}
	<-stopped
}
