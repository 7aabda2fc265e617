package kube

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// holder is a client whose own clock is off by skew.
func (s *server) holder(skew time.Duration) *Client {
	s.t.Helper()
	c := newClient(s.t, controlPlane.RESTConfig())
	c.clock.now = func() time.Time { return time.Now().Add(skew) }
	return c
}

func TestLease(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	// Two functions whose clocks are a day apart: only the server's counts.
	a, b := s.holder(-12*time.Hour), s.holder(12*time.Hour)
	refused := func(why string, _ *Lease, err error) {
		t.Helper()
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("%s: want a Conflict, got %v", why, err)
		}
	}

	held := func(why string, want bool) {
		t.Helper()
		if got, err := b.Held(ctx, s.namespace, "lb-1"); err != nil || got != want {
			t.Errorf("%s: held %t, %v", why, got, err)
		}
	}

	held("there is none yet", false)
	first, err := a.Acquire(ctx, s.namespace, "lb-1", "attempt-a", nil)
	if err != nil {
		t.Fatal(err)
	}
	held("it was taken", true)
	got, err := b.Acquire(ctx, s.namespace, "lb-1", "attempt-b", nil)
	refused("somebody has it", got, err)
	if after := fault.RetryAfter(err); after <= 0 || after > time.Second || !strings.Contains(err.Error(), "attempt-a") {
		t.Errorf("it says who has it and when to come again: %s, %v", after, err)
	}
	if _, err := b.Acquire(ctx, s.namespace, "lb-2", "attempt-b", nil); err != nil {
		t.Errorf("another load balancer's is free: %v", err)
	}
	if again, err := a.Acquire(ctx, s.namespace, "lb-1", "attempt-a", nil); err != nil {
		t.Errorf("delivered twice, the attempt has it already: %v", err)
	} else {
		first = again
	}
	if err := first.Hold(ctx, LeaseDuration); err != nil {
		t.Errorf("it can be renewed: %v", err)
	}

	// The platform says that the first attempt is over.
	got, err = b.Acquire(ctx, s.namespace, "lb-1", "attempt-b", []string{"attempt-x"})
	refused("another attempt's end is not this one's", got, err)
	second, err := b.Acquire(ctx, s.namespace, "lb-1", "attempt-b", []string{"attempt-a"})
	if err != nil {
		t.Fatalf("its attempt has ended: %v", err)
	}
	if err := first.Hold(ctx, LeaseDuration); !fault.Is(err, fault.Conflict) {
		t.Errorf("it was lost: want a Conflict, got %v", err)
	}
	if err := first.Release(ctx, false); !fault.Is(err, fault.Conflict) {
		t.Errorf("what was lost isn't ours to release: want a Conflict, got %v", err)
	}
	got, err = a.Acquire(ctx, s.namespace, "lb-1", "attempt-c", nil)
	refused("the second has it still", got, err)

	if !second.Doubtful {
		t.Error("who died may have left a write behind that still takes effect")
	}
	if err := second.Release(ctx, true); err != nil {
		t.Fatal(err)
	}
	doubted, err := a.Acquire(ctx, s.namespace, "lb-1", "attempt-y", nil)
	if err != nil || !doubted.Doubtful {
		t.Fatalf("released in doubt, it is free at once, and the doubt goes with it: %v", err)
	}
	if err := doubted.Release(ctx, false); err != nil {
		t.Fatal(err)
	}
	held("it was released", false)
	third, err := a.Acquire(ctx, s.namespace, "lb-1", "attempt-c", nil)
	if err != nil {
		t.Fatalf("released, it is free at once: %v", err)
	}
	if third.Doubtful {
		t.Error("released for good, there is nothing to doubt")
	}

	// Ten seconds pass, by the server's clock: the holder's last renewal is put
	// that far into its past.
	s.age(t, "lb-1", -LeaseDuration+3*time.Second)
	got, err = b.Acquire(ctx, s.namespace, "lb-1", "attempt-d", nil)
	refused("three seconds are left", got, err)
	s.age(t, "lb-1", -4*time.Second)
	held("its time is over", false)
	if _, err := b.Acquire(ctx, s.namespace, "lb-1", "attempt-d", nil); err != nil {
		t.Errorf("its time is over: %v", err)
	}
	if err := third.Hold(ctx, LeaseDuration); !fault.Is(err, fault.Conflict) {
		t.Errorf("it was lost: want a Conflict, got %v", err)
	}
}

// age moves the last renewal of a Lease.
func (s *server) age(t *testing.T, name string, by time.Duration) {
	t.Helper()
	leases := s.CoordinationV1().Leases(s.namespace)
	l, err := leases.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := metav1.NewMicroTime(l.Spec.RenewTime.Add(by))
	l.Spec.RenewTime = &at
	if _, err := leases.Update(t.Context(), l, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestLeaseHold: it is renewed when, and only when, it would not outlast the write.
func TestLeaseHold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	var w wire
	c := newClient(t, w.config(controlPlane.RESTConfig()))
	var passed time.Duration
	c.clock.now = func() time.Time { return time.Now().Add(passed) }
	l, err := c.Acquire(ctx, s.namespace, "lb-1", "attempt-a", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		reason string
		passes time.Duration
		renews bool
	}{
		{"just taken", 0, false},
		{"three seconds later it still outlasts a write", 3 * time.Second, false},
		{"after five it doesn't", 2 * time.Second, true},
		{"and then it does again", 3 * time.Second, false},
		{"even after it would have run out it is ours if nobody took it", time.Minute, true},
	} {
		passed += step.passes
		before := len(w.requests)
		if err := l.Hold(ctx, 5*time.Second); err != nil {
			t.Fatalf("%s: %v", step.reason, err)
		}
		if renewed := len(w.requests) > before; renewed != step.renews {
			t.Errorf("%s: renewed %t", step.reason, renewed)
		}
	}
	if len(w.plain) > 0 {
		t.Errorf("protobuf is spoken on the wire, but %v", w.plain)
	}
}

// TestLeaseRace: of many that ask at once one gets it.
func TestLeaseRace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const n = 8
	won := make(chan error, n)
	for i := range n {
		c := s.holder(time.Duration(i) * time.Hour)
		go func() {
			_, err := c.Acquire(t.Context(), s.namespace, "lb-1", "attempt-"+string(rune('a'+i)), nil)
			won <- err
		}()
	}
	winners := 0
	for range n {
		switch err := <-won; {
		case err == nil:
			winners++
		case !fault.Is(err, fault.Conflict):
			t.Errorf("who loses meets a Conflict, got %v", err)
		}
	}
	if winners != 1 {
		t.Errorf("want one holder, got %d", winners)
	}
}

// TestServerClock: however slow answers are, and however wrong and whole the
// seconds, Now is never ahead of the server and Stamp never more than a second
// behind it. So nobody takes a Lease before its holder has stopped counting on it.
func TestServerClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := func(most int, label string) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Millisecond
		}
		truth := moment.Add(millis(1000, "start"))
		skew := millis(3_600_000, "skew") - 30*time.Minute
		clock := &serverClock{now: func() time.Time { return truth.Add(skew) }}
		if _, err := clock.Now(); !fault.Is(err, fault.Transient) {
			t.Fatalf("before any answer nobody knows, got %v", err)
		}
		client := clock.wrap(transport(func(*http.Request) (*http.Response, error) {
			truth = truth.Add(millis(5000, "there"))
			date := truth.UTC().Format(http.TimeFormat)
			truth = truth.Add(millis(5000, "back"))
			return &http.Response{Header: http.Header{"Date": {date}}, Body: http.NoBody}, nil
		}))
		for range rapid.IntRange(1, 3).Draw(t, "answers") {
			res, err := client.RoundTrip(&http.Request{})
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			truth = truth.Add(millis(20_000, "later"))
			now, err := clock.Now()
			if err != nil || now.After(truth) {
				t.Fatalf("Now is %s, the server's time %s: ahead, %v", now, truth, err)
			}
			stamp, err := clock.Stamp()
			if err != nil || truth.Sub(stamp) > leaseSlack {
				t.Fatalf("Stamp is %s, the server's time %s: too far behind, %v", stamp, truth, err)
			}
		}
	})
}
