package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// helperVariable makes the test binary the parent in
// TestChildrenDieWithTheirParent.
const helperVariable = "CLUSTER_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		p, err := startProcess(Etcd, spec{program: "/bin/sleep", args: []string{"1000"}, logFile: filepath.Join(dir, "log")})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.pid)
		<-p.done
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent said %q", line)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the child before its parent's end: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the child's end", func(context.Context) (bool, error) {
		// A dead child whose new parent hasn't waited for it yet is a zombie.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z "), nil
	})
}

func TestProcessThatEndsIsExplained(t *testing.T) {
	tests := map[string]struct {
		reason string
		script string
		want   error
	}{
		"PortTaken": {"a taken port is worth another try", "echo 'listen tcp 127.0.0.1:1: bind: address already in use'; exit 1", errPortTaken},
		"Other":     {"anything else isn't", "echo 'unknown flag'; exit 2", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := spec{program: "/bin/sh", args: []string{"-c", tc.script}, logFile: filepath.Join(t.TempDir(), "log"), ready: "http://127.0.0.1:1/"}
			c := &Cluster{running: map[Component]*process{}, specs: map[Component]spec{Etcd: s}}
			if err := c.start(Etcd); err != nil {
				t.Fatal(err)
			}
			err := c.awaitReady(t.Context(), Etcd)
			if err == nil || errors.Is(err, errPortTaken) != (tc.want != nil) {
				t.Errorf("%s: got %v", tc.reason, err)
			}
			if !strings.Contains(fmt.Sprint(err), strings.Split(tc.script, "'")[1]) {
				t.Errorf("%s: %v doesn't hold the end of the log", tc.reason, err)
			}
			if c.PID(Etcd) != 0 {
				t.Error("a process that ended has a process id")
			}
		})
	}
}

func TestPrefixerWritesWholeLines(t *testing.T) {
	var got strings.Builder
	w := &prefixer{prefix: "etcd: ", to: &got}
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("writing %q: %d, %v", part, n, err)
		}
	}
	if diff := cmp.Diff("etcd: one\netcd: two\netcd: \n", got.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAdoptWantsAName(t *testing.T) {
	// An ambient kubeconfig that would work must not be taken.
	good := filepath.Join(t.TempDir(), "config")
	data, err := kubeconfig("https://127.0.0.1:1", nil, "admin", keyPair{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(good, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", good)
	for name, path := range map[string]string{"NoName": "", "NoFile": filepath.Join(t.TempDir(), "none"), "NoKubeconfig": os.Args[0]} {
		t.Run(name, func(t *testing.T) {
			if c, err := Adopt(path); err == nil {
				t.Errorf("adopted %s", c.Server)
			}
		})
	}
	c, err := Adopt(good)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "https://127.0.0.1:1" {
		t.Errorf("server: got %s", c.Server)
	}
}
