package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/node"
)

// template is that of pods of an app, without gate or hook of their own: the API server
// and the webhook give them.
func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: map[string]string{node.AnnotationNetworks: "tke-route-eni"}},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(30)), Containers: []corev1.Container{{Name: "nginx", Image: "nginx"}}},
	}
}

// deploy makes a Deployment, which replaces pods one by one and only when there is another.
func (s *space) deploy(app string, replicas int32, set ...func(*appsv1.Deployment)) {
	s.t.Helper()
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, Template: template(app),
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none}},
		},
	}
	for _, f := range set {
		f(d)
	}
	_, err := s.client.AppsV1().Deployments(s.name).Create(s.t.Context(), d, metav1.CreateOptions{})
	s.must(err)
	s.await("Deployment "+app+" is there", s.rolled(app))
}

// roll replaces the pods of a Deployment.
func (s *space) roll(app string) {
	s.t.Helper()
	raw, err := toJSON(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{"rolled": time.Now().Format(time.RFC3339Nano)}}}}})
	s.must(err)
	_, err = s.client.AppsV1().Deployments(s.name).Patch(s.t.Context(), app, types.MergePatchType, raw, metav1.PatchOptions{})
	s.must(err)
}

// rolled tells whether all pods of a Deployment are new and available.
func (s *space) rolled(app string) func() (bool, string) {
	return func() (bool, string) {
		d, err := s.client.AppsV1().Deployments(s.name).Get(s.t.Context(), app, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		st, want := d.Status, *d.Spec.Replicas
		return st.ObservedGeneration >= d.Generation && st.UpdatedReplicas == want && st.AvailableReplicas == want && st.Replicas == want, fmt.Sprintf("%+v", st)
	}
}

// podsOf are the pods of an app, such as are going left out.
func (s *space) podsOf(app string) []corev1.Pod {
	s.t.Helper()
	list, err := s.client.CoreV1().Pods(s.name).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	s.must(err)
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// load is a light load on a load balancer, over new connections and over a kept one.
type load struct {
	mu      sync.Mutex
	asked   int
	failed  []string
	answers map[string]int // by the pod's UID

	done chan struct{}
	wg   sync.WaitGroup
}

// press loads port 80 of a load balancer's address until stopped.
func (s *space) press(vip string) *load {
	l := &load{done: make(chan struct{}), answers: map[string]int{}}
	for _, kept := range []bool{true, false} {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dialer("127.0.9.7").DialContext, DisableKeepAlives: !kept}}
		l.wg.Go(func() {
			defer client.CloseIdleConnections()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-l.done:
					return
				case <-tick.C:
				}
				l.note(ask(client, "http://"+vip+"/"))
			}
		})
	}
	return l
}

func ask(client *http.Client, url string) (node.Answer, error) {
	var a node.Answer
	res, err := client.Get(url)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", res.Status)
	}
	if err != nil {
		return a, err
	}
	return a, fromJSON(raw, &a)
}

func (l *load) note(a node.Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if err != nil {
		l.failed = append(l.failed, time.Now().Format("15:04:05.000 ")+err.Error())
		return
	}
	l.answers[a.UID]++
}

// lostNothing ends a load, and fails the test if a request was lost.
func (s *space) lostNothing(l *load) {
	s.t.Helper()
	close(l.done)
	l.wg.Wait()
	if len(l.failed) > 0 || l.asked < 50 {
		s.t.Errorf("want none of 50 requests and more to fail, %d of %d did:\n%s", len(l.failed), l.asked, strings.Join(l.failed[:min(5, len(l.failed))], "\n"))
	}
}
