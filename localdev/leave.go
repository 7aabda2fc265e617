package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
)

// running is what `up` remembers of the stack that it left running.
type running struct {
	PID int `json:"pid"`
	// Born is the process's start time in the kernel's ticks: a pid alone may be
	// somebody else's by now.
	Born       string `json:"born"`
	Dir        string `json:"dir"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Kubectl    string `json:"kubectl,omitempty"`
	CLB        string `json:"clb,omitempty"`
	SCF        string `json:"scf,omitempty"`
	Forwarder  string `json:"forwarder,omitempty"`
	// Faults is where faults are set.
	Faults string `json:"faults,omitempty"`
	// SecretID and SecretKey sign calls to the two APIs, Functions are the functions'
	// names there.
	SecretID  string                    `json:"secretId,omitempty"`
	SecretKey string                    `json:"secretKey,omitempty"`
	Functions map[event.Function]string `json:"functions,omitempty"`
	Ready     bool                      `json:"ready"`
}

func remembered(root string) string { return filepath.Join(root, ".localdev.json") }

// up starts `localdev serve` in a session of its own and waits until it is ready.
func up(ctx context.Context, root, kubeconfig, nodeKind string) error {
	if r, err := recall(root); err == nil && r.alive() {
		fmt.Printf("already up (process %d); `make down` ends it\n", r.PID)
		return nil
	}
	dir, err := os.MkdirTemp("", "clb-direct-")
	if err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding myself: %w", err)
	}
	logPath := filepath.Join(dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("making the log: %w", err)
	}
	defer log.Close()
	absRoot, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	args := []string{"serve", "-v", "-root", absRoot}
	if kubeconfig != "" {
		abs, err := filepath.Abs(kubeconfig)
		if err != nil {
			return fmt.Errorf("finding the kubeconfig: %w", err)
		}
		args = append(args, "-cluster", abs)
	}
	if nodeKind != "" {
		args = append(args, "-node", nodeKind)
	}
	progress, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer progress.Close()
	cmd := exec.Command(self, args...)
	cmd.Dir = absRoot
	cmd.Env = append(os.Environ(), stateVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = writer, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	writer.Close()
	r := running{PID: cmd.Process.Pid, Dir: dir, Born: born(cmd.Process.Pid)}
	if err := r.remember(root); err != nil {
		return err
	}
	// What it has to say ends when it closes its output: ready, or dead.
	if _, err := io.Copy(os.Stdout, progress); err != nil {
		return fmt.Errorf("reading its progress: %w", err)
	}
	ready, err := os.ReadFile(filepath.Join(dir, "ready.json"))
	if err != nil {
		return errors.Join(fmt.Errorf("it did not come up; see %s", logPath), forget(root))
	}
	if err := json.Unmarshal(ready, &r); err != nil {
		return fmt.Errorf("reading what came up: %w", err)
	}
	if err := r.remember(root); err != nil {
		return err
	}
	if err := writeKubectl(absRoot, r); err != nil {
		return err
	}
	fmt.Printf(`
up (process %d, log %s)

  bin/kubectl get pods                      this cluster, and no other
  bin/kubectl apply -f localdev/seed/service.yaml
  bin/kubectl apply -f localdev/seed/deployment.yaml
  export KUBECONFIG=%s   for tools of your own

CLB API http://%s   SCF API http://%s   forwarder %s/metrics
`+"`make down` ends all of it.\n", r.PID, logPath, r.Kubeconfig, r.CLB, r.SCF, r.Forwarder)
	return cmd.Process.Release()
}

// stateVariable tells `serve` which folder to use: a private matter of this
// program's.
const stateVariable = "CLB_DIRECT_LOCALDEV_STATE"

// serve runs the stack until it is told to end.
func serve(ctx context.Context, o stack.Options) error {
	dir := os.Getenv(stateVariable)
	if dir == "" {
		return fmt.Errorf("`serve` is run by `up`")
	}
	o.StateDir = dir
	s, err := stack.Start(ctx, o)
	if err != nil {
		fmt.Println("failed:", err)
		return err
	}
	kubectl, err := s.KubectlPath(ctx)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	faults, stop, err := serveFaults(s)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer stop()
	r := running{Kubectl: kubectl, PID: os.Getpid(), Born: born(os.Getpid()), Dir: dir, Kubeconfig: s.Cluster.Kubeconfig,
		CLB: s.CLB.Endpoint(), SCF: s.SCF.Endpoint(), Forwarder: s.ForwarderURL, Faults: faults,
		SecretID: s.Account.SecretID, SecretKey: s.Account.SecretKey, Functions: map[event.Function]string{}, Ready: true}
	for _, f := range []event.Function{event.Resync, event.Explain} {
		r.Functions[f] = s.SCF.Function(string(f))
	}
	raw, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ready.json"), raw, 0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("saying that it is up: %w", err), s.Close())
	}
	// Closing our output lets `up` return.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		err = syscall.Dup3(int(null.Fd()), int(os.Stdout.Fd()), 0)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("letting go of the terminal: %w", err), s.Close())
	}
	<-ctx.Done()
	return s.Close()
}

// down ends what up started: that process, which ends its children.
func down(ctx context.Context, root string) error {
	r, err := recall(root)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("nothing is up")
		return nil
	}
	if err != nil {
		return err
	}
	if r.alive() {
		if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil {
			return fmt.Errorf("ending process %d: %w", r.PID, err)
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		give := time.After(time.Minute)
		for r.alive() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-give:
				return fmt.Errorf("process %d did not end within a minute; its log is %s", r.PID, filepath.Join(r.Dir, "log"))
			case <-tick.C:
			}
		}
	}
	fmt.Println("down")
	return errors.Join(os.RemoveAll(r.Dir), os.RemoveAll(filepath.Join(root, "bin", "kubectl")), forget(root))
}

func (r running) remember(root string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("remembering: %w", err)
	}
	if err := os.WriteFile(remembered(root), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("remembering: %w", err)
	}
	return nil
}

func recall(root string) (running, error) {
	var r running
	raw, err := os.ReadFile(remembered(root))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("reading %s: %w", remembered(root), err)
	}
	return r, nil
}

func forget(root string) error { return os.Remove(remembered(root)) }

// alive tells whether the very process still runs.
func (r running) alive() bool { return r.Born != "" && born(r.PID) == r.Born }

// born is a process's start time (proc(5), stat, field 22), "" if it has ended.
func born(pid int) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name in parentheses may hold anything, spaces too.
	_, rest, ok := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// writeKubectl makes bin/kubectl speak to this stack's cluster, and to no other.
func writeKubectl(root string, r running) error {
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("making bin: %w", err)
	}
	script := fmt.Sprintf("#!/bin/sh\n# kubectl for the cluster that `make up` started.\nKUBECONFIG=%q exec %q \"$@\"\n", r.Kubeconfig, r.Kubectl)
	path := filepath.Join(bin, "kubectl")
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("replacing bin/kubectl: %w", err)
	}
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return fmt.Errorf("writing bin/kubectl: %w", err)
	}
	return nil
}
