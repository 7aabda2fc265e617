package node

import (
	"context"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// BenchmarkThousandPods takes a Deployment of a thousand pods with readiness
// probes to Ready and lets them be for a while. It reports the time to Ready and
// the share of one core that the nodes take while nothing happens but probes.
func BenchmarkThousandPods(b *testing.B) {
	const replicas, watched = 1000, 20 * time.Second
	for b.Loop() {
		t := benchFor(b)
		labels := map[string]string{"app": "web"}
		n := int32(replicas)
		probe := httpProbe("/ready")
		probe.PeriodSeconds = 10
		deployments := t.client.AppsV1().Deployments(t.namespace)
		began := time.Now()
		_, err := deployments.Create(b.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Spec: appsv1.DeploymentSpec{
				Replicas: &n,
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "nginx", ReadinessProbe: probe}}},
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		err = wait.PollUntilContextTimeout(b.Context(), 100*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
			d, err := deployments.Get(ctx, "web", metav1.GetOptions{})
			return err == nil && d.Status.ReadyReplicas == replicas, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-to-ready")

		before := processorTime(b)
		<-time.After(watched)
		b.ReportMetric(100*float64(processorTime(b)-before)/float64(watched), "%core-idle")
	}
}

// processorTime is what this process, which the nodes run in, has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
