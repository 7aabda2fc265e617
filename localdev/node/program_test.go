package node

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// child is a real process.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (c *child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }
func (c *child) Done() <-chan struct{}    { return c.done }
func (c *child) ExitCode() int            { <-c.done; return c.cmd.ProcessState.ExitCode() }

// A program in a container's place gets SIGTERM, and its end is the
// container's.
func TestProgramRunsInAContainersPlace(t *testing.T) {
	a := &app{program: func() (Process, error) {
		cmd := exec.Command("sh", "-c", `trap 'exit 3' TERM; while :; do sleep 0.01; done`)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		c := &child{cmd: cmd, done: make(chan struct{})}
		go func() { _ = cmd.Wait(); close(c.done) }()
		return c, nil
	}}
	ended := make(chan int32, 1)
	a.onExit = func(code int32, _ string) { ended <- code }
	if err := a.start(); err != nil {
		t.Fatal(err)
	}
	a.signal()
	select {
	case code := <-ended:
		// Until the shell has set its trap it ends of the signal itself.
		if code != 3 && code != exitSIGKILL {
			t.Errorf("want the program's own exit code, 3, got %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("SIGTERM did not end it")
		a.kill()
	}
}

func TestEnvironmentOfAProgram(t *testing.T) {
	w := &worker{fleet: &Fleet{}, host: &host{name: "node-0"}, pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}}
	for path, want := range map[string]string{"metadata.name": "p", "metadata.namespace": "n", "spec.nodeName": "node-0"} {
		if got := w.field(path); got != want {
			t.Errorf("%s: want %q, got %q", path, want, got)
		}
	}
}
