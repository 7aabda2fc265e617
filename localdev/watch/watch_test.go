package watch

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestPods(t *testing.T) {
	client := fake.NewClientset()
	// The fake server tells nobody of what happens between a list and its watch.
	watching := make(chan struct{}, 10)
	client.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, apiwatch.Interface, error) {
		w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		watching <- struct{}{}
		return true, w, err
	})
	type told struct {
		name string
		gone bool
	}
	all := make(chan told, 10)
	stop, err := Pods(t.Context(), client, "shop", func(pod *corev1.Pod, gone bool) { all <- told{pod.Name, gone} })
	if err != nil {
		t.Fatal(err)
	}
	<-watching
	pods := client.CoreV1().Pods("shop")
	if _, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-all; got != (told{"a", false}) {
		t.Errorf("got %+v", got)
	}
	if err := pods.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-all; got != (told{"a", true}) {
		t.Errorf("got %+v", got)
	}
	stop()
}

func TestIs(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionUnknown},
	}}}
	for kind, want := range map[corev1.PodConditionType]bool{corev1.PodReady: true, corev1.ContainersReady: false, corev1.PodInitialized: false} {
		if got := Is(pod, kind); got != want {
			t.Errorf("%s: got %t", kind, got)
		}
	}
}
