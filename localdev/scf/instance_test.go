package scf_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestFrozenBetweenEvents(t *testing.T) {
	e := start(t, nil)
	var before, after int
	e.mustAnswer("plain", `{"do":"ticks"}`, &before)
	pid := e.last().PID
	await(t, "the instance to be stopped", func() bool { return processState(pid) == "T" })

	// An event of another function is the clock here: in its time a process that ran
	// would tick some 300 times.
	e.mustAnswer("url", `{"do":"sleep","ms":300}`, new(string))
	e.mustAnswer("plain", `{"do":"ticks"}`, &after)
	if got := e.last().PID; got != pid {
		t.Fatalf("process %d, want %d again", got, pid)
	}
	if ticked := after - before; ticked > 100 {
		t.Errorf("%d ticks while no event ran", ticked)
	}

	// The same ticker does run during an event.
	e.mustAnswer("plain", `{"do":"sleep","ms":300}`, new(string))
	e.mustAnswer("plain", `{"do":"ticks"}`, &before)
	if ticked := before - after; ticked < 100 {
		t.Errorf("%d ticks during an event of 300 ms", ticked)
	}
}

func TestOneEventPerInstance(t *testing.T) {
	e := start(t, func(o *scf.Options) { o.Concurrency = 2 })
	const busy = `{"do":"sleep","ms":60000}`
	ended := make(chan string, 2)
	for range 2 {
		go func() {
			result, err := e.tryInvoke("plain", busy)
			if err != nil {
				ended <- err.Error()
				return
			}
			ended <- *result.ErrMsg
		}()
	}
	both := e.running("plain", 2)
	if both[0].PID == both[1].PID {
		t.Fatalf("two events at a time in process %d", both[0].PID)
	}

	third := e.invoke("plain", `{}`)
	want := "Function [ demo-dev-app-plain ] concurrency exceeded reserved quota 256 MB"
	if *third.InvokeResult != 432 || !strings.Contains(*third.ErrMsg, want) {
		t.Errorf("third event: %d %s, want 432 %s", *third.InvokeResult, *third.ErrMsg, want)
	}
	other := e.invoke("url", `{}`)
	if *other.ErrMsg != "" {
		t.Errorf("another function: %s, want its own quota", *other.ErrMsg)
	}

	killed := e.Kill("plain")
	if len(killed) != 2 {
		t.Errorf("killed %v, want both", killed)
	}
	for range 2 {
		if got := <-ended; !strings.Contains(got, `"statusCode":439`) {
			t.Errorf("a killed event ended with %s, want 439", got)
		}
	}
	if again := e.invoke("plain", `{}`); *again.ErrMsg != "" {
		t.Errorf("after the kill: %s, want a place again", *again.ErrMsg)
	}
}

func TestWarmInstancesAreReused(t *testing.T) {
	e := start(t, nil)
	for range 3 {
		e.invoke("plain", `{}`)
	}
	var pids []int
	var cold []bool
	for _, i := range e.Invocations() {
		pids = append(pids, i.PID)
		cold = append(cold, i.Cold)
	}
	if diff := cmp.Diff([]int{pids[0], pids[0], pids[0]}, pids); diff != "" {
		t.Errorf("processes, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]bool{true, false, false}, cold); diff != "" {
		t.Errorf("cold, -want +got:\n%s", diff)
	}
}

func TestColdStartTakesItsTime(t *testing.T) {
	const least = 400 * time.Millisecond
	e := start(t, func(o *scf.Options) { o.ColdStart = least })
	e.invoke("plain", `{}`)
	if i := e.last(); i.Handed.Sub(i.Start) < least {
		t.Errorf("handed over %v after the event, want at least %v", i.Handed.Sub(i.Start), least)
	}
}

func TestDeadIdleInstanceIsReplaced(t *testing.T) {
	e := start(t, nil)
	e.invoke("plain", `{}`)
	pid := e.last().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the instance to be reaped", func() bool { return processState(pid) == "" })
	if result := e.invoke("plain", `{}`); *result.ErrMsg != "" || !e.last().Cold {
		t.Errorf("got %s, cold %v; want a new instance", *result.ErrMsg, e.last().Cold)
	}
}

func TestIdleInstancesEnd(t *testing.T) {
	e := start(t, func(o *scf.Options) { o.IdleTimeout = 20 * time.Millisecond })
	e.invoke("plain", `{}`)
	pid := e.last().PID
	await(t, "the idle instance to end", func() bool { return processState(pid) == "" })
	if result := e.invoke("plain", `{}`); *result.ErrMsg != "" || !e.last().Cold {
		t.Errorf("got %s, cold %v; want a new instance", *result.ErrMsg, e.last().Cold)
	}
}

func TestKillByRequest(t *testing.T) {
	e := start(t, nil)
	done := make(chan scf.Status, 1)
	go func() {
		result, err := e.tryInvoke("plain", `{"do":"sleep","ms":60000}`)
		if err != nil {
			done <- 0
			return
		}
		done <- scf.Status(*result.InvokeResult)
	}()
	victim := e.running("plain", 1)[0]
	if got := e.Kill("no such request"); got != nil {
		t.Errorf("killed %v for a request that isn't there", got)
	}
	if diff := cmp.Diff([]string{victim.RequestID}, e.Kill(victim.RequestID)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := <-done; got != scf.StatusProcessExit {
		t.Errorf("ended with %d, want %d", got, scf.StatusProcessExit)
	}
	if i := e.last(); !i.Killed || i.Status != scf.StatusProcessExit {
		t.Errorf("logged %+v, want it killed", i)
	}
	if got := e.Kill(victim.RequestID); got != nil {
		t.Errorf("killed %v, which had ended", got)
	}
}

func TestOnInvokeHoldsTheEventBack(t *testing.T) {
	reached, proceed := make(chan scf.Invocation), make(chan struct{})
	e := start(t, func(o *scf.Options) {
		o.OnInvoke = func(ctx context.Context, i scf.Invocation) {
			select {
			case reached <- i:
			case <-ctx.Done():
			}
			select {
			case <-proceed:
			case <-ctx.Done():
			}
		}
	})
	done := make(chan error, 1)
	go func() {
		_, err := e.tryInvoke("plain", `{"held":true}`)
		done <- err
	}()
	held := <-reached
	if string(held.Payload) != `{"held":true}` || held.PID == 0 || !held.Handed.IsZero() {
		t.Errorf("the hook was given %+v", held)
	}
	select {
	case err := <-done:
		t.Fatalf("the event ended while held: %v", err)
	default:
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}

	// Killed while held, the process never sees the event.
	go func() {
		_, err := e.tryInvoke("plain", `{}`)
		done <- err
	}()
	held = <-reached
	e.Kill("demo-dev-app-plain")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if i := e.last(); i.RequestID != held.RequestID || i.Status != scf.StatusProcessExit || !i.Killed {
		t.Errorf("logged %+v, want it killed", i)
	}
}

func TestOutputIsPrefixed(t *testing.T) {
	out := &buffer{}
	e := start(t, func(o *scf.Options) { o.Stderr = out })
	e.invoke("plain", `{"do":"print","text":"one"}`)
	want := fmt.Sprintf("plain[%d] one\n", e.last().PID)
	await(t, "the line "+want, func() bool { return strings.Contains(out.String(), want) })
}

func TestCloseEndsEverything(t *testing.T) {
	e := start(t, nil)
	e.invoke("url", `{}`)
	var root described
	e.mustAnswer("plain", `{"do":"context"}`, &root)
	done := make(chan string, 1)
	go func() {
		_, err := e.tryInvoke("short", `{"do":"sleep","ms":60000}`)
		done <- code(err)
	}()
	e.running("short", 1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "InternalError.System" {
		t.Errorf("the running event ended with %s, want InternalError.System", got)
	}
	for _, i := range e.Invocations() {
		if !ended(i.PID) {
			t.Errorf("process %d of %s is still there", i.PID, i.Key)
		}
	}
	if _, err := os.Stat(root.Environment["USER_CODE_ROOT"]); !os.IsNotExist(err) {
		t.Errorf("the unpacked package is still there: %v", err)
	}
	if _, err := e.tryInvoke("plain", `{}`); err == nil {
		t.Error("the API still answers")
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	const events = 40
	e := start(t, nil)
	failures := make(chan string, events)
	for range events {
		go func() {
			result, err := e.tryInvoke("plain", `{"do":"sleep","ms":500}`)
			if err != nil {
				failures <- err.Error()
				return
			}
			failures <- *result.ErrMsg
		}()
	}
	for range events {
		if got := <-failures; got != "" {
			t.Error(got)
		}
	}

	// No process had two events at a time.
	byPID := map[int][]scf.Invocation{}
	for _, i := range e.Invocations() {
		for _, other := range byPID[i.PID] {
			if i.Handed.Before(other.End) && other.Handed.Before(i.End) {
				t.Errorf("process %d had %s and %s at a time", i.PID, i.RequestID, other.RequestID)
			}
		}
		byPID[i.PID] = append(byPID[i.PID], i)
	}
}

func TestCloseDuringColdStarts(t *testing.T) {
	e := start(t, func(o *scf.Options) { o.ColdStart = time.Minute })
	const events = 5
	done := make(chan error, events)
	for range events {
		go func() {
			_, err := e.tryInvoke("plain", `{}`)
			done <- err
		}()
	}
	await(t, "the events to be there", func() bool { return len(e.Invocations()) == events })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for range events {
		if got := code(<-done); got != "InternalError.System" {
			t.Errorf("got %s, want InternalError.System", got)
		}
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	server, err := scf.Start(t.Context(), scf.Options{
		Package: pack(t, 0o755, "main"), Manifest: write(t, "serverless.yml", manifest), ColdStart: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{Server: server, t: t}
	for _, body := range []string{`{}`, `{"do":"exit"}`, `{"do":"panic"}`, `{}`} {
		e.post("url", body)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	await(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server, err := scf.Start(ctx, scf.Options{Package: pack(t, 0o755, "main"), Manifest: write(t, "serverless.yml", manifest)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	client := newClient(t, server.Endpoint())
	await(t, "the API to go away", func() bool {
		_, err := client.InvokeFunction(nil)
		return code(err) == "ClientError.NetworkError"
	})
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// helper is the emulator of TestParentDeath: it runs one event and says in which
// process, then waits to be killed.
func helper(archive string) {
	server, err := scf.Start(context.Background(), scf.Options{
		Package: archive, Manifest: filepath.Join(filepath.Dir(archive), "serverless.yml"), ColdStart: -1,
		OnInvoke: func(_ context.Context, i scf.Invocation) { fmt.Println(i.PID) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = http.Post(server.URL("url"), "application/json", strings.NewReader(`{"do":"sleep","ms":60000}`))
	fmt.Println(err)
}

func TestParentDeath(t *testing.T) {
	archive := pack(t, 0o755, "main")
	if err := os.WriteFile(filepath.Join(filepath.Dir(archive), "serverless.yml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+archive, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the emulator said %q", line)
	}
	if ended(pid) {
		t.Fatalf("process %d of the instance isn't there", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await(t, "the instance to die with the emulator", func() bool { return ended(pid) })
}
