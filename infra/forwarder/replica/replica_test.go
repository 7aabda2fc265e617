package replica

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestForwarder runs replicas against one real control plane, with the rights that
// our manifests give them, as a control plane costs seconds to start.
func TestForwarder(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(func() { w.keep(t) })
	existing := w.service(t, "default", "existing", "lb-existing")
	first, stop := w.start(t, "replica-1")

	t.Run("SendsWhatExistsAtStart", func(t *testing.T) {
		for _, want := range []func(event.Request) bool{
			sent(event.Frontend, "lb-existing"), sent(event.Backends, "lb-existing"), sent(event.Readiness, "readiness/0"),
		} {
			eventually(t, "everything that exists", func() bool { return w.functions.seen(want) })
		}
	})
	t.Run("NamespaceIsRegisteredFast", func(t *testing.T) { testRegistration(t, w) })
	t.Run("ThousandPodsAtOnceAllGetTheGate", func(t *testing.T) { testThousandPods(t, w) })
	t.Run("ServiceMadeJustBeforeItsPod", func(t *testing.T) { testServiceJustBefore(t, w) })
	t.Run("OtherPodsAreLeftAlone", func(t *testing.T) { testOtherPods(t, w) })
	t.Run("PodChangesAreNamed", func(t *testing.T) { testPodChanges(t, w) })
	t.Run("NothingIsLostWhileFunctionsAreDown", func(t *testing.T) { testFunctionsDown(t, w) })
	t.Run("ServiceConfigsAreFoundLater", func(t *testing.T) { testServiceConfigs(t, w) })
	t.Run("ServiceThatGoes", func(t *testing.T) { testServiceGoes(t, w) })
	t.Run("IngressOverPlainServices", func(t *testing.T) { testIngress(t, w) })
	t.Run("SecretsOfIngressesAreFollowed", func(t *testing.T) { testSecrets(t, w, first) })
	t.Run("BrokenWebhookIsMended", func(t *testing.T) { testMending(t, w) })
	t.Run("LeavingEndsGates", func(t *testing.T) { testLeaving(t, w) })
	t.Run("MetricsTell", func(t *testing.T) { testMetrics(t, first) })
	// Before the API server is killed: one that has just started forbids everything.
	if log := w.log.String(); strings.Contains(log, "forbidden") {
		t.Errorf("the manifests' rights don't suffice:\n%s", lines(log, "forbidden"))
	}
	t.Run("SurvivesAKilledAPIServer", func(t *testing.T) { testKilledAPIServer(t, w) })
	t.Run("HooksAreAnsweredUntilNobodyAsks", func(t *testing.T) { testStopping(t, w) })
	t.Run("AnotherReplicaTakesOver", func(t *testing.T) {
		w.functions.answers(nil)
		second, _ := w.start(t, "replica-2")
		if !first.Leading() || second.Leading() {
			t.Fatalf("leading: %v and %v, want the first alone", first.Leading(), second.Leading())
		}
		stop()
		eventually(t, "the second to lead", second.Leading)
		eventually(t, "everything to be sent again", func() bool { return w.functions.seen(sent(event.Backends, "lb-existing")) })
		if p := w.mustPod(t, "default", "after-takeover", existing.Name); !gated(p) {
			t.Error("a pod made after the takeover has no gate")
		}
	})
}

// TestNothingRunsOn comes after the replicas of TestForwarder have stopped.
func TestNothingRunsOn(t *testing.T) { checkLeaks(t) }

func gated(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == model.GateType })
}

func testRegistration(t *testing.T, w *world) {
	w.namespace(t, "fast")
	began := time.Now()
	w.service(t, "fast", "web", "lb-fast")
	eventually(t, "the namespace's registration", func() bool { return w.registered(t, "fast") })
	t.Logf("registered %s after the Service was made", time.Since(began).Round(time.Millisecond))
	if w.registered(t, system) {
		t.Error("a namespace without a Service of ours is registered")
	}
	eventually(t, "a gate", func() bool {
		p, err := w.pod(t.Context(), "fast", fmt.Sprint("p", time.Now().UnixNano()), "web")
		return err == nil && gated(p)
	})
}

func testThousandPods(t *testing.T, w *world) {
	const pods = 1000
	var g errgroup.Group
	g.SetLimit(32)
	var mu sync.Mutex
	without := 0
	began := time.Now()
	for i := range pods {
		g.Go(func() error {
			p, err := w.pod(t.Context(), "fast", fmt.Sprintf("many-%04d", i), "web")
			if err != nil {
				return err
			}
			if !gated(p) {
				mu.Lock()
				defer mu.Unlock()
				without++
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pods in %s", pods, time.Since(began).Round(time.Millisecond))
	if without > 0 {
		t.Errorf("%d of %d pods have no gate", without, pods)
	}
	if err := w.client.CoreV1().Pods("fast").DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testServiceJustBefore makes Services and, in the same breath, a pod each: the
// cache can't know them yet. The namespace is registered for another's sake.
func testServiceJustBefore(t *testing.T, w *world) {
	for i := range 50 {
		name := fmt.Sprintf("breath-%02d", i)
		w.service(t, "fast", name, "")
		if p := w.mustPod(t, "fast", name, name); !gated(p) {
			t.Errorf("%s has no gate", name)
		}
	}
	for i := range 50 {
		if err := w.client.CoreV1().Services("fast").Delete(t.Context(), fmt.Sprintf("breath-%02d", i), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func testOtherPods(t *testing.T, w *world) {
	if p := w.mustPod(t, "fast", "loose", "nobody"); gated(p) {
		t.Error("a pod that nothing selects has a gate")
	}
	p, err := w.client.CoreV1().Pods("fast").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "own-gate", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "nginx"}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "example.com/own"}, {ConditionType: model.GateType}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Spec.ReadinessGates) != 2 {
		t.Errorf("gates %v, want those it came with", p.Spec.ReadinessGates)
	}
}

func testPodChanges(t *testing.T, w *world) {
	w.functions.answers(nil)
	p := w.mustPod(t, "default", "a", "existing")
	w.run(t, p, "10.1.0.1")
	eventually(t, "the address", func() bool { return w.functions.seen(naming("lb-existing", string(p.UID), "10.1.0.1")) })
	eventually(t, "the gate's decision", func() bool {
		return w.functions.seen(func(r event.Request) bool {
			return r.Function == event.Readiness && slices.ContainsFunc(r.Sync.Pods, func(q event.Pod) bool { return q.UID == string(p.UID) })
		})
	})
	w.functions.answers(nil)
	if _, err := w.client.CoreV1().Pods("default").Patch(t.Context(), "a", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"none"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pod that is no longer selected", func() bool { return w.functions.seen(naming("lb-existing", string(p.UID), "10.1.0.1")) })
	q := w.mustPod(t, "default", "b", "existing")
	w.run(t, q, "10.1.0.2")
	eventually(t, "another", func() bool { return w.functions.seen(naming("lb-existing", string(q.UID), "10.1.0.2")) })
	w.functions.answers(nil)
	if err := w.client.CoreV1().Pods("default").Delete(t.Context(), "b", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pod that is gone, with its last address", func() bool { return w.functions.seen(naming("lb-existing", string(q.UID), "10.1.0.2")) })
}

// testFunctionsDown has every function answer 500 while pods come and go.
func testFunctionsDown(t *testing.T, w *world) {
	refused := 0
	w.functions.answers(func(event.Request) (int, event.Reply) {
		refused++
		return http.StatusInternalServerError, event.Reply{}
	})
	var pods []*corev1.Pod
	for i := range 20 {
		p := w.mustPod(t, "default", fmt.Sprintf("down-%02d", i), "existing")
		w.run(t, p, fmt.Sprintf("10.2.0.%d", i+1))
		pods = append(pods, p)
		if i%2 == 0 {
			if err := w.client.CoreV1().Pods("default").Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "several tries", func() bool {
		w.functions.mu.Lock()
		defer w.functions.mu.Unlock()
		return refused >= 5
	})
	w.functions.answers(nil)
	for i, p := range pods {
		eventually(t, p.Name, func() bool {
			return w.functions.seen(naming("lb-existing", string(p.UID), fmt.Sprintf("10.2.0.%d", i+1)))
		})
	}
}

func testServiceConfigs(t *testing.T, w *world) {
	w.service(t, "default", "configured", "lb-configured", desired.ServiceConfig, "slow")
	eventually(t, "the new Service", func() bool { return w.functions.seen(sent(event.Frontend, "lb-configured")) })
	w.kubectl(t, "apply", "-f", "../../crd/tkeserviceconfigs.yaml")
	w.kubectl(t, "wait", "--for=condition=Established", "crd/tkeserviceconfigs.cloud.tencent.com")
	const config = `{"apiVersion":"cloud.tencent.com/v1alpha1","kind":"TkeServiceConfig","metadata":{"name":"slow","namespace":"default"},` +
		`"spec":{"loadBalancer":{"l4Listeners":[{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"intervalTime":10,"unknown":1}}]}}}`
	w.functions.answers(nil)
	if _, err := w.client.CoreV1().RESTClient().Post().AbsPath("/apis/cloud.tencent.com/v1alpha1/namespaces/default/tkeserviceconfigs").
		SetHeader("Content-Type", "application/json").Body([]byte(config)).DoRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the configuration's Service", func() bool { return w.functions.seen(sent(event.Frontend, "lb-configured")) })
	w.functions.answers(nil)
	patch := func(body string) {
		t.Helper()
		if _, err := w.client.CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath("/apis/cloud.tencent.com/v1alpha1/namespaces/default/tkeserviceconfigs/slow").
			Body([]byte(body)).DoRaw(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	patch(`{"metadata":{"labels":{"a":"b"}}}`)
	patch(`{"spec":{"loadBalancer":{"l4Listeners":[]}}}`)
	eventually(t, "the change", func() bool { return w.functions.seen(sent(event.Frontend, "lb-configured")) })
	if w.functions.seen(sent(event.Frontend, "lb-existing")) {
		t.Error("a Service that doesn't name the configuration was sent")
	}
}

// testServiceGoes takes a Service away from a waiting pod: its gate must be
// decided again, as nothing selects it now.
func testServiceGoes(t *testing.T, w *world) {
	w.service(t, "default", "going", "lb-going")
	p := w.mustPod(t, "default", "stays", "going")
	w.run(t, p, "10.3.0.1")
	eventually(t, "the pod", func() bool { return w.functions.seen(naming("lb-going", string(p.UID), "10.3.0.1")) })
	w.functions.answers(nil)
	if err := w.client.CoreV1().Services("default").Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod's decision", func() bool {
		return w.functions.seen(func(r event.Request) bool {
			return r.Partition == "namespace/default" && slices.ContainsFunc(r.Sync.Pods, func(q event.Pod) bool { return q.UID == string(p.UID) })
		})
	})
}

func testMending(t *testing.T, w *world) {
	configurations := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if err := configurations.Delete(t.Context(), "clb-direct", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the configuration", func() bool { return w.registered(t, "default") })
	if err := w.client.CoreV1().Secrets(system).Delete(t.Context(), "clb-direct-webhook", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new Secret that the API server trusts", func() bool {
		s, err := w.client.CoreV1().Secrets(system).Get(t.Context(), "clb-direct-webhook", metav1.GetOptions{})
		if err != nil {
			return false
		}
		c, err := configurations.Get(t.Context(), "clb-direct", metav1.GetOptions{})
		return err == nil && string(c.Webhooks[0].ClientConfig.CABundle) == string(s.Data["ca.crt"])
	})
	n := 0
	eventually(t, "gates again", func() bool {
		n++
		return gated(w.mustPod(t, "default", fmt.Sprintf("mended-%d", n), "existing"))
	})
}

// metricsOf is what a replica tells Prometheus.
func metricsOf(t *testing.T, r *Replica) string {
	t.Helper()
	resp, err := http.Get("http://" + r.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func testMetrics(t *testing.T, r *Replica) {
	body := metricsOf(t, r)
	for _, want := range []string{
		`clb_direct_forwarder_sends_total{function="backends",result="ok"}`,
		`clb_direct_forwarder_sends_total{function="backends",result="500"}`,
		`clb_direct_forwarder_send_seconds_count{function="frontend"}`,
		`clb_direct_forwarder_oldest_unacknowledged_seconds{function="backends"}`,
		`clb_direct_forwarder_queue_length{function="readiness",state="parked"}`,
		`clb_direct_forwarder_lists_total{resource="pods"} 1`,
		`clb_direct_forwarder_watch_silent_seconds{resource="services"}`,
		`clb_direct_forwarder_watch_silent_seconds{resource="ingresses"}`,
		`clb_direct_forwarder_webhook_decisions_total{decision="gated"}`,
		`clb_direct_forwarder_webhook_decisions_total{decision="unknown"} 0`,
		`clb_direct_forwarder_leading 1`,
		`clb_direct_forwarder_undecided_pods`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing from:\n%s", want, lines(body, "clb_direct_forwarder_"))
		}
	}
	if got := get(t, r, "/healthz"); got != http.StatusOK {
		t.Errorf("/healthz: %d", got)
	}
}

// testKilledAPIServer kills it, deletes a pod and changes another behind its back, and has
// it start again: what a watch can't tell any more, a list does.
func testKilledAPIServer(t *testing.T, w *world) {
	gone, moved := w.mustPod(t, "default", "gone-meanwhile", "existing"), w.mustPod(t, "default", "moved-meanwhile", "existing")
	w.run(t, gone, "10.4.1.1")
	w.run(t, moved, "10.4.1.2")
	for ip, p := range map[string]*corev1.Pod{"10.4.1.1": gone, "10.4.1.2": moved} {
		eventually(t, p.Name, func() bool { return w.functions.seen(naming("lb-existing", string(p.UID), ip)) })
	}
	next, err := w.client.CoreV1().Pods("default").Get(t.Context(), moved.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Kill(cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Remove(t.Context(), "pods", "default", gone.Name); err != nil {
		t.Fatal(err)
	}
	next.APIVersion, next.Kind, next.ResourceVersion = "v1", "Pod", ""
	next.Status.PodIP, next.Status.PodIPs = "10.4.1.3", []corev1.PodIP{{IP: "10.4.1.3"}}
	version, err := w.Put(t.Context(), "pods", "default", moved.Name, next)
	if err != nil {
		t.Fatal(err)
	}
	w.functions.answers(nil)
	if err := w.Restart(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	fresh := func(want func(event.Request) bool) func() bool {
		return func() bool {
			return w.functions.seen(func(r event.Request) bool {
				n, err := strconv.ParseUint(r.Sync.ResourceVersion, 10, 64)
				return err == nil && n >= version-1 && want(r)
			})
		}
	}
	eventually(t, "a pod that went meanwhile, no older than that", fresh(naming("lb-existing", string(gone.UID), "10.4.1.1")))
	eventually(t, "a pod that has another address", fresh(naming("lb-existing", string(moved.UID), "10.4.1.3")))
	p := w.mustPod(t, "default", "after-kill", "existing")
	w.run(t, p, "10.4.0.1")
	eventually(t, fmt.Sprintf("the pod of after the restart, UID %s", p.UID), func() bool { return w.functions.seen(naming("lb-existing", string(p.UID), "10.4.0.1")) })
}

// lines are those of text that hold what.
func lines(text, what string) string {
	var out []string
	for l := range strings.Lines(text) {
		if strings.Contains(l, what) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "")
}
