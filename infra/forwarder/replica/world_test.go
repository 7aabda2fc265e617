package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

const (
	system = "clb-direct-system"
	secret = "s3cret"
)

// world is a control plane with our manifests, and a server that stands in for the
// functions.
type world struct {
	*cluster.Cluster
	client    kubernetes.Interface
	functions *functions
	log       *lockedBuffer
}

// functions answer over HTTP, reading events with the functions' own decoder.
type functions struct {
	server *httptest.Server

	mu     sync.Mutex
	got    []event.Request
	answer func(event.Request) (status int, reply event.Reply)
}

func newFunctions(t *testing.T) *functions {
	f := &functions{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the replica was told to stop
		}
		headers := map[string]string{}
		for k, v := range r.Header {
			headers[strings.ToLower(k)] = strings.Join(v, ",")
		}
		raw, err := json.Marshal(map[string]any{"httpMethod": r.Method, "headers": headers, "body": string(body)})
		if err != nil {
			t.Error(err)
		}
		d, err := event.Decode(raw, event.Receiver{Secret: secret}, time.Now())
		if err != nil || len(d.Requests) != 1 || "/"+string(d.Requests[0].Function) != r.URL.Path {
			t.Errorf("the door refuses %s: %v", body, err)
			return
		}
		status, reply := f.take(d.Requests[0])
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		e, err := reply.Encode(d.Requests[0].ID, d.Requests[0].Source, time.Now())
		if err != nil {
			t.Error(err)
		}
		if err := json.NewEncoder(w).Encode(e); err != nil {
			return // nobody waits for it
		}
	}))
	t.Cleanup(f.server.Close)
	return f
}

func (f *functions) take(r event.Request) (int, event.Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, reply := http.StatusOK, event.Reply{}
	if f.answer != nil {
		status, reply = f.answer(r)
	}
	if status == http.StatusOK {
		f.got = append(f.got, r)
	}
	return status, reply
}

// answers sets what is answered from now on, nil for "done", and forgets what came.
func (f *functions) answers(answer func(event.Request) (int, event.Reply)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.got = answer, nil
}

// seen tells whether an answered event is as wanted.
func (f *functions) seen(want func(event.Request) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.got, want)
}

// sent is an event of a function's partition.
func sent(f event.Function, partition string) func(event.Request) bool {
	return func(r event.Request) bool { return r.Function == f && r.Partition == partition }
}

// naming is one of backends that names a pod at an address, or is about all.
func naming(lb, uid, ip string) func(event.Request) bool {
	return func(r event.Request) bool {
		return sent(event.Backends, lb)(r) && (r.Sync.All || slices.ContainsFunc(r.Sync.Pods, func(p event.Pod) bool { return p.UID == uid && p.IP == ip }))
	}
}

func newWorld(t *testing.T) *world {
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Cluster: c, functions: newFunctions(t), log: &lockedBuffer{}}
	if w.client, err = kubernetes.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	w.kubectl(t, "apply", "-f", "../../manifests")
	return w
}

func (w *world) kubectl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.Binaries.Kubectl(), append([]string{"--kubeconfig", w.Kubeconfig}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// start runs a replica under the forwarder's own ServiceAccount. stop ends it as
// SIGTERM does, and waits.
func (w *world) start(t *testing.T, name string) (r *Replica, stop func()) {
	t.Helper()
	token, err := w.ServiceAccountToken(t.Context(), system, "forwarder", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	urls := map[event.Function]string{}
	for _, f := range event.Functions {
		urls[f] = w.functions.server.URL + "/" + string(f)
	}
	tr, err := transport.NewURL(urls, secret, 8)
	if err != nil {
		t.Fatal(err)
	}
	hook := freePort(t)
	r, err = New(Options{
		Config:    &rest.Config{Host: w.Server, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: w.CA}},
		Policy:    desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation, Network: desired.VPCCNI},
		Namespace: system, Identity: name, Transport: tr, SendTimeout: 5 * time.Second, Parallel: 8,
		Election: Election{Lease: "clb-direct-forwarder", Duration: 3 * time.Second, Renew: 2 * time.Second, Retry: 200 * time.Millisecond},
		Webhook:  Webhook{Listen: hook, URL: "https://" + hook + "/mutate", Service: "clb-direct-forwarder", Secret: "clb-direct-webhook", Configuration: "clb-direct", Owner: "clb-direct-forwarder"},
		Listen:   "127.0.0.1:0", Discover: 200 * time.Millisecond, Mend: 500 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(w.log, nil)).With("replica", name),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running %s: %v", name, err)
		}
		tr.Close()
	})
	t.Cleanup(stop)
	eventually(t, name+" ready", func() bool { return get(t, r, "/readyz") == http.StatusOK })
	return r, stop
}

func get(t *testing.T, r *Replica, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + r.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// freePort finds an address of loopback; the webhook's must be known before it is
// listened at.
func freePort(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	defer s.Close()
	return s.Listener.Addr().String()
}

// eventually polls; the time it may take says nothing of how long it should.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Fatalf("awaiting %s: %v", what, err)
	}
}

func (w *world) namespace(t *testing.T, name string) {
	t.Helper()
	if _, err := w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service account of "+name, func() bool {
		_, err := w.client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
}

// service makes a claimed Service that selects app=name and uses lb.
func (w *world) service(t *testing.T, ns, name, lb string, annotations ...string) *corev1.Service {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: lb}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for i := 0; i < len(annotations); i += 2 {
		s.Annotations[annotations[i]] = annotations[i+1]
	}
	s, err := w.client.CoreV1().Services(ns).Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pod makes a pod of app; the error is the caller's, who may be no test's goroutine.
func (w *world) pod(ctx context.Context, ns, name, app string) (*corev1.Pod, error) {
	return w.client.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "nginx"}}, NodeSelector: map[string]string{"none": "such"}},
	}, metav1.CreateOptions{})
}

func (w *world) mustPod(t *testing.T, ns, name, app string) *corev1.Pod {
	t.Helper()
	p, err := w.pod(t.Context(), ns, name, app)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run gives a pod its address, as a kubelet does.
func (w *world) run(t *testing.T, p *corev1.Pod, ip string) {
	t.Helper()
	patch := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}]}}`, ip, ip)
	if _, err := w.client.CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

// registered tells whether the webhook is called for a namespace's pods.
func (w *world) registered(t *testing.T, ns string) bool {
	t.Helper()
	c, err := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), "clb-direct", metav1.GetOptions{})
	if err != nil {
		return false
	}
	return slices.Contains(c.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values, ns)
}

// checkLeaks fails if a goroutine of ours outlives its replica.
func checkLeaks(t *testing.T) {
	t.Helper()
	ours := func() string {
		buf := make([]byte, 4<<20)
		var out []string
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "infra/forwarder/") && !strings.Contains(g, "testing.tRunner") && !strings.Contains(g, "replica.newFunctions") {
				out = append(out, g)
			}
		}
		return strings.Join(out, "\n\n")
	}
	deadline := time.Now().Add(10 * time.Second)
	for left := ours(); left != ""; left = ours() {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines left:\n%s", left)
		}
		runtime.Gosched()
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is what was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// keep writes the log beside the test when it failed.
func (w *world) keep(t *testing.T) {
	if t.Failed() && os.Getenv("KEEP_LOG") != "" {
		_ = os.WriteFile(os.Getenv("KEEP_LOG"), []byte(w.log.String()), 0o600)
	}
}
