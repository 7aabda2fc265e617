package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
)

// "HTTP/1.1, HTTP/2": over one connection each, kept alive, spread over the pods. HTTP/2
// is spoken where the TkeServiceConfig has it, and nowhere else.
func TestIngressSpeaksHTTP1AndHTTP2(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "two.example.com", "one.example.com"))
	checked := []desired.L7Rule{{URL: "/", HealthCheck: quickRuleCheck()}}
	s.config("mine", l7(desired.L7Listener{Protocol: "HTTPS", Port: 443, Domains: []desired.L7Domain{
		{Domain: "two.example.com", HTTP2: new(true), Rules: checked}, {Domain: "one.example.com", HTTP2: new(false), Rules: checked},
	}}))
	s.plain("web")
	s.ingress("web", secured("tls"), noting(desired.IngressConfig, "mine"), rules(to("two.example.com", "/", "web"), to("one.example.com", "/", "web")))
	s.pods("a", "b")
	s.awaitReady("a", "b")
	lb := s.awaitFront("web")
	for _, tc := range []struct {
		reason, url, proto string
		b                  *browser
	}{
		{"the client speaks no other", "https://two.example.com/", "HTTP/1.1", s.browse(lb.VIP.String(), ca)},
		{"both speak it", "https://two.example.com/", "HTTP/2.0", s.browse(lb.VIP.String(), ca).http2()},
		{"it is off for this host", "https://one.example.com/", "HTTP/1.1", s.browse(lb.VIP.String(), ca).http2()},
	} {
		served := map[string]bool{}
		for range 10 {
			p := s.visit(tc.b, tc.url)
			if p.StatusCode != http.StatusOK || p.Proto != tc.proto {
				t.Errorf("%s: want %s answered over %s, got %s over %s", tc.reason, tc.url, tc.proto, p.Status, p.Proto)
			}
			served[p.Pod] = true
		}
		if len(served) != 2 {
			t.Errorf("%s: want both pods to serve, got %v", tc.url, served)
		}
	}
}

// "Cookie sessions": who sends the CLB's cookie back stays with a pod.
func TestIngressCookieSession(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("sticky", l7(desired.L7Listener{Protocol: "HTTP", Port: 80, Domains: []desired.L7Domain{
		{Domain: "shop.example.com", Rules: []desired.L7Rule{{URL: "/", HealthCheck: quickRuleCheck(), Session: &desired.Session{Enable: true, SessionExpireTime: new(60)}}}},
	}}))
	s.plain("web")
	s.ingress("web", noting(desired.IngressConfig, "sticky"), rules(to("shop.example.com", "/", "web")))
	s.pods("a", "b", "c")
	s.awaitReady("a", "b", "c")
	lb := s.awaitFront("web")
	pods := func(b *browser) map[string]bool {
		served := map[string]bool{}
		for range 12 {
			served[s.visit(b, "http://shop.example.com/").Pod] = true
		}
		return served
	}
	if got := pods(s.browse(lb.VIP.String()).keepingCookies(s)); len(got) != 1 {
		t.Errorf("want a client with its cookie served by one pod, got %v", got)
	}
	if got := pods(s.browse(lb.VIP.String())); len(got) != 3 {
		t.Errorf("want a client without cookies served by all pods, got %v", got)
	}
}

// "X-Forwarded-For": at layer 7 the pod is connected to from the CLB; who asked is in the
// header. Which a pod of the emulated nodes doesn't show, so a server of the test's own
// stands in for it.
func TestIngressForwardsTheClientsAddress(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web")
	seen := make(chan http.Header, 1)
	ip := s.standIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			select {
			case seen <- r.Header.Clone():
			default:
			}
		}
	}))
	lb := s.awaitFront("web")
	s.await("the stand-in is found Alive", func() (bool, string) {
		targets := s.targets(lb.ID)["HTTP/80 /"]
		return len(targets) == 1 && targets[0].IP.String() == ip && targets[0].Weight > 0 && targets[0].Health == "Alive", describe(targets)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.example.com/", nil)
	s.must(err)
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	res, err := s.browse(lb.VIP.String()).Do(req)
	s.must(err)
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("want the stand-in to answer, got %s", res.Status)
	}
	if got := (<-seen).Get("X-Forwarded-For"); got != "192.0.2.1, 127.0.9.9" && got != "192.0.2.1,127.0.9.9" {
		t.Errorf("want the client's address added, got %q", got)
	}
}

// standIn is a pod of app=web that no node runs, but a server of the test.
func (s *space) standIn(h http.Handler) (ip string) {
	s.t.Helper()
	var ln net.Listener
	for i := 1; ln == nil; i++ { // another run may have the address
		ip = fmt.Sprintf("127.0.31.%d", i)
		var err error
		if ln, err = (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", ip+":80"); err != nil && (!errors.Is(err, syscall.EADDRINUSE) || i == 250) {
			s.t.Fatal(err)
		}
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	s.t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	s.pod("stand-in", ungated, func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{"no-node": "has-this"}
		p.Spec.TerminationGracePeriodSeconds = new(int64(0))
	})
	now := time.Now().UTC().Format(time.RFC3339)
	raw := fmt.Appendf(nil, `{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}],"startTime":%q,
		"conditions":[{"type":"ContainersReady","status":"True","lastTransitionTime":%q}]}}`, ip, ip, now, now)
	_, err := s.client.CoreV1().Pods(s.name).Patch(s.t.Context(), "stand-in", types.MergePatchType, raw, metav1.PatchOptions{}, "status")
	s.must(err)
	return ip
}

// visitors ask without a pause, over connections that they keep, until stopped.
type visitors struct {
	asked  atomic.Int64
	mu     sync.Mutex
	failed []string
}

// visiting starts them.
func (s *space) visiting(url string, browsers ...*browser) (v *visitors, stop func()) {
	v = &visitors{}
	ctx, cancel := context.WithCancel(s.t.Context())
	var asking sync.WaitGroup
	for _, b := range browsers {
		asking.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for {
				p, err := b.get(ctx, url)
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					v.fail(err.Error())
				case p.StatusCode != http.StatusOK:
					v.fail(p.Status)
				}
				v.asked.Add(1)
				<-pause.C
			}
		})
	}
	return v, func() { cancel(); asking.Wait() }
}

func (v *visitors) fail(why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = append(v.failed, time.Now().Format("15:04:05.000 ")+why)
}

// A rolling update behind an Ingress fails no request: new pods serve only when the CLB
// found them healthy, old ones go only when it sends them nothing any more. Which takes
// them a moment, so their containers wait for it before they end.
func TestRollingUpdateBehindAnIngressFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.plain("web")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/x", "web")))
	lb := s.awaitFront("web")
	s.awaitGating()
	const replicas = 3
	pause := &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}
	deployments := s.client.AppsV1().Deployments(s.name)
	_, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(replicas)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(2)), MaxUnavailable: new(intstr.FromInt32(0))}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{node.AnnotationNetworks: "tke-route-eni"}},
				Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(10)), Containers: []corev1.Container{{Name: "nginx", Image: "nginx", Lifecycle: pause}}},
			},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	rolledOut := func() (bool, string) {
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		s.must(err)
		st := d.Status
		return st.ObservedGeneration >= d.Generation && st.UpdatedReplicas == replicas && st.AvailableReplicas == replicas && st.Replicas == replicas, fmt.Sprintf("%+v", st)
	}
	s.await("the Deployment is there", rolledOut)
	once := s.browse(lb.VIP.String(), ca)
	once.transport.DisableKeepAlives = true
	v, stop := s.visiting("https://shop.example.com/x/y", s.browse(lb.VIP.String(), ca), s.browse(lb.VIP.String(), ca).http2(), once)
	_, err = deployments.Patch(t.Context(), "web", "application/merge-patch+json", []byte(`{"spec":{"template":{"metadata":{"annotations":{"version":"two"}}}}}`), metav1.PatchOptions{})
	s.must(err)
	s.await("the update is through", rolledOut)
	s.await("nothing of the old ones is left", func() (bool, string) {
		pods, err := s.client.CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{})
		s.must(err)
		targets := s.targets(lb.ID)["HTTPS/443 shop.example.com/x"]
		return len(pods.Items) == replicas && len(targets) == replicas, fmt.Sprintf("%d pods, targets %s", len(pods.Items), describe(targets))
	})
	stop()
	if asked := v.asked.Load(); len(v.failed) > 0 || asked < 100 {
		t.Errorf("want no failed request of 100 and more, got %d of %d:\n%s", len(v.failed), asked, strings.Join(v.failed[:min(10, len(v.failed))], "\n"))
	}
	s.settled()
}
