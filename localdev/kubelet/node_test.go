package kubelet

import (
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
)

func TestScratch(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	n, err := Start(t.Context(), Options{Cluster: c, Root: "../..", Progress: os.Stdout, StateDir: "/tmp/kl/state"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { t.Log("close:", n.Close()) }()
	client, _ := kubernetes.NewForConfig(c.RESTConfig())
	_, err = client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: DefaultImage, Env: []corev1.EnvVar{{Name: "JOURNAL", Value: n.JournalAddress()}}}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		time.Sleep(500 * time.Millisecond)
		p, err := client.CoreV1().Pods("default").Get(t.Context(), "a", metav1.GetOptions{})
		if err == nil {
			t.Log(p.Status.Phase, p.Status.PodIP, p.Status.Conditions)
			if p.Status.Phase == "Running" {
				t.Logf("%+v", p.Status)
				t.Log(n.Journal.Moments(string(p.UID)))
				break
			}
		}
	}
}
