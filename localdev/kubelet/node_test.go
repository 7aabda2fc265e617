package kubelet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// childVariable has the test binary be a program that starts a node with a pod, says so
// and waits to be ended.
const childVariable = "CLB_DIRECT_KUBELET_TEST_STATE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs until it is killed, or fails as it is asked to by a file in its folder.
func child(dir string) error {
	ctx := context.Background()
	c, n, err := begin(ctx, dir)
	if err != nil {
		return err
	}
	defer c.Stop()
	defer n.Close()
	if _, err := runPod(ctx, c, n, "a"); err != nil {
		return err
	}
	fmt.Println("up")
	select {}
}

func begin(ctx context.Context, dir string) (*cluster.Cluster, *Node, error) {
	c, err := cluster.Start(ctx, cluster.Options{StateDir: filepath.Join(dir, "cluster"), Root: "../.."})
	if err != nil {
		return nil, nil, err
	}
	n, err := Start(ctx, Options{Cluster: c, Root: "../..", StateDir: filepath.Join(dir, "kubelet"), Wait: patience})
	if err != nil {
		return nil, nil, errors.Join(err, c.Stop())
	}
	return c, n, nil
}

// needed skips a test where a node can't run.
func needed(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a node with the real kubelet is left out by -short")
	}
	if _, err := findTools(); err != nil {
		t.Skip(err)
	}
	// What is left behind can only be told where no other node runs.
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if l, err := net.Listen("unix", machine.LockAddress); err == nil {
			_ = l.Close()
			return
		}
	}
	t.Fatal("another node with a real kubelet runs on this machine and does not end")
}

// patience is how long another node on this machine is waited for.
const patience = 10 * time.Minute

// runPod runs a pod with a readiness and a liveness probe until it is Ready.
func runPod(ctx context.Context, c *cluster.Cluster, n *Node, name string) (*corev1.Pod, error) {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return nil, err
	}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(80)}}}
	}
	_, err = client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: DefaultImage, Env: []corev1.EnvVar{{Name: "JOURNAL", Value: n.JournalAddress()}},
			ReadinessProbe: probe(application.ReadyPath), LivenessProbe: probe(application.LivePath),
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return awaitPod(ctx, client, name, func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	})
}

func awaitPod(ctx context.Context, client kubernetes.Interface, name string, done func(*corev1.Pod) bool) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err == nil && done(p) {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("awaiting pod %s: %w; it is %+v", name, ctx.Err(), p)
		case <-tick.C:
		}
	}
}

// footprint is all of this machine that a node could leave something in.
func footprint(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for what, pattern := range map[string]string{
		"interfaces": "/sys/class/net/*", "cgroups": "/sys/fs/cgroup/*/" + DefaultCgroup, "cgroup": "/sys/fs/cgroup/" + DefaultCgroup,
		"netns": "/run/netns/*", "run": "/run/*", "lib": "/var/lib/*", "log": "/var/log/*", "cni": "/var/lib/cni/*", "etc": "/etc/cni/*",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out[what] = names
	}
	for what, path := range map[string]string{"mounts": "/proc/self/mounts", "routes": "/proc/net/route", "forwarding": "/proc/sys/net/ipv4/ip_forward", "overcommit": "/proc/sys/vm/overcommit_memory", "panic": "/proc/sys/kernel/panic"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[what] = strings.Split(string(raw), "\n")
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		program, rest, _ := strings.Cut(string(raw), "\x00")
		switch filepath.Base(program) {
		case "kubelet": // others may be called so, too
			if strings.Contains(rest, "--kubeconfig") {
				out["processes"] = append(out["processes"], name)
			}
		case "containerd", "containerd-shim-runc-v2", "dbus-daemon", "keeper", "container":
			out["processes"] = append(out["processes"], name)
		}
	}
	return out
}

// nothingLeft awaits that the machine is as it was.
func nothingLeft(t *testing.T, before map[string][]string) {
	t.Helper()
	var diff string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if diff = cmp.Diff(before, footprint(t)); diff == "" {
			return
		}
	}
	t.Errorf("something was left behind (-before +after):\n%s", diff)
}

// A pod on the real kubelet: its address, who it says it is, whom it sees, its restart; and
// the node takes everything with it when it is closed.
func TestNode(t *testing.T) {
	needed(t)
	before := footprint(t)
	c, n, err := begin(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), c.Stop()); err != nil {
			t.Error(err)
		}
		nothingLeft(t, before)
	})
	p, err := runPod(t.Context(), c, n, "a")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Answer", func(t *testing.T) {
		const from = "10.89.0.200"
		got := ask(t, from, p.Status.PodIP)
		host, _, _ := strings.Cut(got.Client, ":")
		want := application.Answer{Pod: "a", Namespace: "default", UID: string(p.UID), Port: 80, State: application.StateReady, Ready: true, ContainerID: p.Status.ContainerStatuses[0].ContainerID, Client: got.Client}
		if got.ContainerID == "" {
			want.ContainerID = "" // cgroups of version 2 don't show it
		}
		if diff := cmp.Diff(want, got); diff != "" || host != from {
			t.Errorf("asking from %s (-want +got):\n%s", from, diff)
		}
	})
	t.Run("AnotherNodeIsRefused", func(t *testing.T) {
		other, err := Start(t.Context(), Options{Cluster: c, Root: "../..", Name: "another"})
		if err == nil {
			_ = other.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "another node with a real kubelet runs") {
			t.Errorf("a second node: want a clear refusal, got %v", err)
		}
	})
	t.Run("LivenessRestart", func(t *testing.T) {
		res, err := http.Post("http://"+p.Status.PodIP+application.LivePath, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		after, err := awaitPod(t.Context(), client, "a", func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses[0]
			return s.RestartCount == 1 && s.Ready
		})
		if err != nil {
			t.Fatal(err)
		}
		if after.Status.PodIP != p.Status.PodIP {
			t.Errorf("its address was %s and is %s", p.Status.PodIP, after.Status.PodIP)
		}
		var got []node.What
		for _, m := range n.Journal.Moments(string(p.UID)) {
			got = append(got, m.What)
		}
		if diff := cmp.Diff([]node.What{node.Started, node.Terminated, node.Exited, node.Started}, got); diff != "" {
			t.Errorf("the journal (-want +got):\n%s", diff)
		}
	})
}

func ask(t *testing.T, from, pod string) application.Answer {
	t.Helper()
	a, err := get(t.Context(), from, "http://"+pod+"/")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Whatever ends whoever started a node, nothing of it is left: no process, mount, cgroup,
// network namespace, interface, route or file, and the kernel's settings are as they were.
func TestNothingIsLeftBehind(t *testing.T) {
	needed(t)
	for name, sig := range map[string]syscall.Signal{"Killed": syscall.SIGKILL, "Interrupted": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			before := footprint(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+t.TempDir())
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			up := false
			for lines := bufio.NewScanner(out); !up && lines.Scan(); {
				up = lines.Text() == "up"
			}
			if during := footprint(t); up && cmp.Equal(before, during) {
				t.Error("nothing is seen of a node that runs: nothing would be seen of what is left")
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if !up {
				t.Fatal("the node did not come up")
			}
			nothingLeft(t, before)
		})
	}
}

// get asks a pod from a client's address.
func get(ctx context.Context, from, url string) (application.Answer, error) {
	var a application.Answer
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	res, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, json.NewDecoder(res.Body).Decode(&a)
}
