package chart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
)

// A real API server takes the chart and the plain manifests as they are; the drain
// Service outlives the release, and the next has its address.
func TestAPIServerTakesChartAndManifests(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first build
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	kubectl := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(ctx, c.Binaries.Kubectl(), append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
		cmd.Env = []string{"HOME=" + t.TempDir()}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
	helm := newHelm(t, c.Kubeconfig)
	run := func(args ...string) {
		t.Helper()
		if out, err := helm.Run(ctx, args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	address := func() string {
		t.Helper()
		client, err := kubernetes.NewForConfig(c.RESTConfig())
		if err != nil {
			t.Fatal(err)
		}
		s, err := client.CoreV1().Services(namespace).Get(ctx, "clb-direct-drain", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Spec.ClusterIP
	}
	install := slices.Concat([]string{"install", "clb-direct", chartDir, "-n", namespace, "--create-namespace"}, enough)
	run(install...)
	first := address()
	run(slices.Concat([]string{"upgrade", "clb-direct", chartDir, "-n", namespace, "--set", "forwarder.replicas=3"}, enough)...)
	run("uninstall", "clb-direct", "-n", namespace, "--no-hooks") // no node runs the hook
	if got := address(); got != first {
		t.Errorf("an uninstall leaves the drain Service at %s, it is at %s", first, got)
	}
	run(install...)
	if got := address(); got != first {
		t.Errorf("the next release has the drain Service at %s, want %s", got, first)
	}
	run("uninstall", "clb-direct", "-n", namespace, "--no-hooks")
	kubectl("delete", "service", "-n", namespace, "clb-direct-drain")
	run(append(install, "--set", "drain.clusterIP="+first)...)
	if got := address(); got != first {
		t.Errorf("a lost drain Service gets the address %s that it is told, it is at %s", first, got)
	}
	run("uninstall", "clb-direct", "-n", namespace, "--no-hooks")

	for name, values := range map[string][]string{
		"mounted": {"--set", "transport.invoke.credential=mounted"},
		"pod":     {"--set", "transport.invoke.credential=pod", "--set", "transport.invoke.pod.roleArn=" + role},
		"token":   {"--set", "transport.invoke.credential=pod", "--set", "transport.invoke.pod.roleArn=" + role, "--set", "transport.invoke.pod.providerId=cls-12345678"},
	} {
		out, err := helm.Run(ctx, slices.Concat([]string{"template", "clb-direct", chartDir, "-n", namespace}, byInvoke, values)...)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(file, out, 0o600); err != nil {
			t.Fatal(err)
		}
		kubectl("apply", "--dry-run=server", "-f", file)
	}

	var all bytes.Buffer
	for _, dir := range []string{"crd", "manifests", "policy"} {
		files, err := filepath.Glob(filepath.Join(root, "infra", dir, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("finding infra/%s: %v %v", dir, files, err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString("---\n" + string(raw))
		}
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, all.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	kubectl("apply", "--dry-run=server", "-f", file)
	kubectl("apply", "-f", filepath.Join(root, "infra/crd"), "-f", filepath.Join(root, "infra/manifests"), "-f", filepath.Join(root, "infra/policy"))
}
