package node

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
)

// controlPlane is the one that all tests of this package share; each has a
// namespace of its own, and one fleet serves them all.
var controlPlane struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface
	fleet   *Fleet
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	flag.Parse()
	if testing.Short() {
		return m.Run()
	}
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{Progress: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Stop()
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fleet, err := Start(ctx, Options{
		Config: c.RESTConfig(), Nodes: 2, Events: true,
		SandboxDelay: 20 * time.Millisecond, StartDelay: 20 * time.Millisecond,
		BackoffInitial: 500 * time.Millisecond, BackoffMax: 2 * time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer fleet.Close()
	controlPlane.cluster, controlPlane.client, controlPlane.fleet = c, client, fleet
	return m.Run()
}

// bench is a test's own namespace.
type bench struct {
	testing.TB
	client    kubernetes.Interface
	fleet     *Fleet
	namespace string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	return benchFor(t)
}

func benchFor(t testing.TB) *bench {
	t.Helper()
	if controlPlane.client == nil {
		t.Skip("needs the control plane, left out by -short")
	}
	b := &bench{TB: t, client: controlPlane.client, fleet: controlPlane.fleet}
	ns, err := b.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.namespace = ns.Name
	t.Cleanup(func() {
		_ = b.client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	b.await("the namespace's service account", func(ctx context.Context) (bool, error) {
		_, err := b.client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	return b
}

// await waits for a condition, for at most half a minute.
func (b *bench) await(what string, done wait.ConditionWithContextFunc) {
	b.Helper()
	if err := wait.PollUntilContextTimeout(b.Context(), 10*time.Millisecond, 30*time.Second, true, done); err != nil {
		b.Fatalf("awaiting %s: %v", what, err)
	}
}

// create makes a pod of a container "app" on port 80, after edit.
func (b *bench) create(edit func(*corev1.Pod)) *corev1.Pod {
	b.Helper()
	grace := int64(5)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "pod-", Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "app", Image: "nginx"}},
		},
	}
	if edit != nil {
		edit(pod)
	}
	pod, err := b.client.CoreV1().Pods(b.namespace).Create(b.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return pod
}

func (b *bench) get(name string) *corev1.Pod {
	b.Helper()
	pod, err := b.client.CoreV1().Pods(b.namespace).Get(b.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return pod
}

// until waits for a pod to be as wanted and returns it.
func (b *bench) until(name, what string, is func(*corev1.Pod) bool) *corev1.Pod {
	b.Helper()
	var last *corev1.Pod
	err := wait.PollUntilContextTimeout(b.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = b.get(name)
		return is(last), nil
	})
	if err != nil {
		b.Fatalf("awaiting that %s %s: %v\nstatus: %+v", name, what, err, last.Status)
	}
	return last
}

func isTrue(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	c := condition(pod.Status.Conditions, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func ready(pod *corev1.Pod) bool { return isTrue(pod, corev1.PodReady) }

func (b *bench) ready(pod *corev1.Pod) *corev1.Pod {
	b.Helper()
	return b.until(pod.Name, "is Ready", ready)
}
