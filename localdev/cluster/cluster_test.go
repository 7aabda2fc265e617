package cluster

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestControlPlane starts one control plane and tries all that it promises on
// it, as a start costs seconds.
func TestControlPlane(t *testing.T) {
	ctx := t.Context()
	began := time.Now()
	c, err := Start(ctx, Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stopping again: %v", err)
		}
	})
	t.Logf("started in %v", time.Since(began))
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}

	t.Run("NamesItsVersion", func(t *testing.T) { testVersion(t, client) })
	t.Run("DeploymentMakesPods", func(t *testing.T) { testDeploymentMakesPods(t, client) })
	t.Run("TokenIsOfTheServiceAccount", func(t *testing.T) { testToken(t, c) })
	t.Run("AdoptReachesIt", func(t *testing.T) { testAdopt(t, c) })
	t.Run("ForgetsWhenCompacted", func(t *testing.T) { testCompact(t, c, client) })
	t.Run("SurvivesAKilledAPIServer", func(t *testing.T) { testKilledAPIServer(t, c, client) })

	pids := map[Component]int{}
	for _, name := range []Component{Etcd, APIServer, ControllerManager, Scheduler} {
		pid := c.PID(name)
		if pid == 0 {
			t.Fatalf("%s doesn't run", name)
		}
		pids[name] = pid
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s, process %d: still there after Stop (%v)", name, pid, err)
		}
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("state folder %s: still there after Stop (%v)", c.Dir, err)
	}
}

// testCompact: etcd no longer has an old revision. The API server answers from its own
// memory for as long as that has it.
func testCompact(t *testing.T, c *Cluster, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps("default")
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "old"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A resourceVersion is etcd's revision.
	old := map[string]any{"key": "AA==", "revision": made.ResourceVersion}
	if err := c.askEtcd(t.Context(), "/v3/kv/range", old, nil); err != nil {
		t.Fatalf("before: %v", err)
	}
	made.Data = map[string]string{"a": "b"}
	if _, err := maps.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.askEtcd(t.Context(), "/v3/kv/range", old, nil); err == nil || !strings.Contains(err.Error(), "compacted") {
		t.Errorf("want the old revision compacted, got %v", err)
	}
}

func testDeploymentMakesPods(t *testing.T, client kubernetes.Interface) {
	ctx := t.Context()
	labels := map[string]string{"app": "web"}
	replicas := int32(3)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
			},
		},
	}
	if _, err := client.AppsV1().Deployments("default").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three pods owned by a ReplicaSet of the Deployment", func(ctx context.Context) (bool, error) {
		sets, err := client.AppsV1().ReplicaSets("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(sets.Items) != 1 {
			return false, err
		}
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(pods.Items) != 3 {
			return false, err
		}
		for _, pod := range pods.Items {
			if !metav1.IsControlledBy(&pod, &sets.Items[0]) {
				t.Fatalf("pod %s isn't the ReplicaSet's", pod.Name)
			}
		}
		return true, nil
	})
	background := metav1.DeletePropagationBackground
	if err := client.AppsV1().Deployments("default").Delete(ctx, "web", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "garbage collection of the Deployment's pods", func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(pods.Items) == 0, err
	})
}

func testVersion(t *testing.T, client kubernetes.Interface) {
	got, err := client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	// Functions check the server's version: an unstamped build says v0.0.0.
	if got.Major != "1" || !strings.HasPrefix(got.GitVersion, "v1."+got.Minor+".") {
		t.Errorf("server version: got %s (major %q, minor %q), want a release", got.GitVersion, got.Major, got.Minor)
	}
}

func testToken(t *testing.T, c *Cluster) {
	token, err := c.ServiceAccountToken(t.Context(), "default", "default", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(c.RESTConfig())
	cfg.BearerToken = token
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// RBAC is on: an account without a role may not list pods.
	if _, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("an account without a role listed pods")
	} else if want := `pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default"`; err.Error() != want {
		t.Errorf("listing pods: got %q, want %q", err, want)
	}
}

func testAdopt(t *testing.T, c *Cluster) {
	adopted, err := Adopt(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(adopted.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := adopted.Stop(); err != nil {
		t.Error(err)
	}
	if c.PID(APIServer) == 0 {
		t.Error("stopping an adopted cluster stopped the API server")
	}
	if _, err := os.Stat(c.Kubeconfig); err != nil {
		t.Error(err)
	}
}

func testKilledAPIServer(t *testing.T, c *Cluster, client kubernetes.Interface) {
	ctx := t.Context()
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{}); err == nil {
		t.Error("a killed API server answered")
	}
	if err := c.Restart(ctx, APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("reading what was written before the kill: %v", err)
	}
}

func eventually(t *testing.T, what string, done wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, done); err != nil {
		t.Fatalf("awaiting %s: %v", what, err)
	}
}
