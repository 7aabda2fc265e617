package node

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// beginStop starts a container's way to its end: the hook now, SIGTERM after it
// (killContainer of the kubelet's kuberuntime).
func (w *worker) beginStop(c *container, grace int64, message string) {
	for _, kind := range []probeKind{livenessProbe, startupProbe} {
		if cancel := c.stopProbes[kind]; cancel != nil {
			cancel()
		}
	}
	w.event(corev1.EventTypeNormal, "Killing", "%s", message)
	c.stop = &stopping{began: w.fleet.now(), grace: seconds(grace), hookDone: true}
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PreStop == nil || grace <= 0 {
		return
	}
	c.stop.hooked, c.stop.hookDone = true, false
	w.note(c, HookBegan)
	stop, hook, spec, addr := c.stop, c.spec.Lifecycle.PreStop, c.spec, w.ip
	// The kubelet's request has no time limit: past the grace period nobody waits
	// for it any more, but it goes on. So does this one, until the fleet closes.
	w.fleet.wg.Go(func() {
		err := runHook(w.fleet.ctx, hook, spec, w.host, addr)
		w.post(func() {
			stop.hookDone = true
			w.note(c, HookEnded)
			if err != nil {
				w.note(c, HookFailed)
				w.fleet.opts.Log.Info("preStop hook failed", "pod", w.key, "container", spec.Name, "err", err)
				// The kubelet leaves the cause out of the Event: it may hold secrets.
				w.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			}
		})
	})
}

// stepStop takes a stopping container further.
func (w *worker) stepStop(c *container, now time.Time, next *deadline) {
	s := c.stop
	if s.shot {
		return
	}
	end := s.began.Add(s.grace)
	if !s.signalled {
		if !s.hookDone && now.Before(end) {
			next.at(end)
			return
		}
		// Sidecars serve the others until these have ended, or time is out.
		if c.sidecar && w.terminating && w.anyRunning(func(c *container) bool { return !c.sidecar }) && now.Before(end) {
			next.at(end)
			return
		}
		left := s.grace
		if s.hooked || c.sidecar {
			// In whole seconds, as the kubelet counts what the hook took.
			left -= now.Sub(s.began).Truncate(time.Second)
		}
		w.note(c, Terminated)
		c.app.signal()
		s.signalled, s.killAt = true, w.fleet.now().Add(max(left, minimumGrace))
	}
	if now.Before(s.killAt) {
		next.at(s.killAt)
		return
	}
	w.shoot(c)
}

// shoot kills a container's process at once.
func (w *worker) shoot(c *container) {
	if c.stop == nil {
		c.stop = &stopping{}
	}
	if c.stop.shot || c.app == nil {
		return
	}
	c.stop.shot = true
	w.note(c, Killed)
	c.app.kill()
}

// shortenStop takes over a shorter grace period while a container is stopping.
func (w *worker) shortenStop(c *container, grace time.Duration, now time.Time) {
	s := c.stop
	if s == nil || s.began.Add(s.grace).Before(now.Add(grace)) {
		return
	}
	s.grace = now.Add(grace).Sub(s.began)
	if kill := now.Add(max(grace, minimumGrace)); s.signalled && kill.Before(s.killAt) {
		s.killAt = kill
	}
}

// runHook carries out a preStop hook. An HTTP hook has succeeded whatever its
// status; only a request that gets no answer has failed.
func runHook(ctx context.Context, hook *corev1.LifecycleHandler, c *corev1.Container, h *host, addr netip.Addr) error {
	switch {
	case hook.HTTPGet != nil:
		err := getHook(ctx, hook.HTTPGet, c, h, addr)
		if err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
			plain := hook.HTTPGet.DeepCopy()
			plain.Scheme = corev1.URISchemeHTTP
			err = getHook(ctx, plain, c, h, addr)
		}
		return err
	case hook.Sleep != nil:
		return sleep(ctx, seconds(hook.Sleep.Seconds))
	case hook.Exec != nil:
		if d, ok := sleepCommand(hook.Exec.Command); ok {
			return sleep(ctx, d)
		}
		return fmt.Errorf("running %q: there is no program to run in an emulated container", hook.Exec.Command)
	}
	return fmt.Errorf("running the hook: invalid handler")
}

func getHook(ctx context.Context, get *corev1.HTTPGetAction, c *corev1.Container, h *host, addr netip.Addr) error {
	req, err := getRequest(ctx, get, c, addr, hookUA)
	if err != nil {
		return err
	}
	res, err := h.hooks.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 10<<10))
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleepCommand understands the one command that preStop hooks are used for
// most: "sleep N", plain or by a shell.
func sleepCommand(command []string) (time.Duration, bool) {
	if len(command) == 3 && command[1] == "-c" && strings.HasSuffix(command[0], "sh") {
		command = strings.Fields(command[2])
	}
	if len(command) != 2 || command[0] != "sleep" && !strings.HasSuffix(command[0], "/sleep") {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(command[1], "s"), 64)
	if err != nil || n < 0 || n > 1e6 {
		return 0, false
	}
	return time.Duration(n * float64(time.Second)), true
}
