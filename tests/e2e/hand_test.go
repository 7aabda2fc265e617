package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// The tests of this file deploy the functions once more, configured otherwise, with a
// CLB of their own. The forwarder is stopped meanwhile and events are sent by hand, as
// it would claim the same objects.

// deployment says how the functions differ from the stack's.
type deployment struct {
	env map[string]string
	clb clb.Options
	scf scf.Options
}

// byHand stops the forwarder until the test ends and gives a namespace served by
// functions deployed as d says.
func byHand(t *testing.T, d deployment) *space {
	t.Helper()
	withoutForwarder(t)
	s := newSpace(t)
	other := *shared.Stack
	other.Store = &tc3.Store{}
	other.Store.Add(shared.Account)

	d.clb.Store, d.clb.Latencies, d.clb.RequestRate = other.Store, &latencies, -1
	d.clb.PublicVIPs, d.clb.InternalVIPs = netip.MustParsePrefix("127.210.0.0/16"), netip.MustParsePrefix("127.211.0.0/16")
	var err error
	other.CLB, err = clb.Start(context.WithoutCancel(t.Context()), d.clb)
	s.must(err)
	t.Cleanup(func() {
		if err := other.CLB.Close(); err != nil {
			t.Error(err)
		}
	})

	other.Env = maps.Clone(shared.Env)
	other.Env["CLB_ENDPOINT"] = "http://" + other.CLB.Endpoint()
	maps.Copy(other.Env, d.env)
	d.scf.Package, d.scf.Manifest, d.scf.Env, d.scf.Store, d.scf.ColdStart = shared.Bundle, "../../serverless.yml", other.Env, other.Store, -1
	var log strings.Builder
	var mu sync.Mutex
	d.scf.Stderr = writer(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		log.Write(p)
	})
	other.SCF, err = scf.Start(context.WithoutCancel(t.Context()), d.scf)
	s.must(err)
	t.Cleanup(func() {
		if err := other.SCF.Close(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Logf("the functions' log:\n%s", log.String())
		}
	})
	t.Cleanup(s.disown)
	s.env = &env{Stack: &other, client: shared.client, dynamic: shared.dynamic, logPath: shared.logPath, hooks: map[int]func(scf.Invocation){}}
	return s
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// withoutForwarder stops the forwarder until the test ends.
func withoutForwarder(t *testing.T) {
	t.Helper()
	if err := shared.StopForwarder(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { startForwarder(t, "url") })
}

// startForwarder starts it unless it runs.
func startForwarder(t *testing.T, transport string) {
	t.Helper()
	if shared.Forwarder != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := shared.StartForwarder(ctx, transport); err != nil {
		t.Fatal(err)
	}
}

// disown leaves nothing of the namespace's Services and Ingresses to the forwarder:
// what they hold is on a CLB that it doesn't know.
func (s *space) disown() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fronts, err := s.fronts(ctx)
	if err != nil {
		s.t.Error(err)
		return
	}
	for _, f := range fronts {
		objects := s.dynamic.Resource(frontResources[f.ref.Kind]).Namespace(s.name)
		if _, err := objects.Patch(ctx, f.ref.Name, "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
			s.t.Error(err)
		}
		if err := objects.Delete(ctx, f.ref.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			s.t.Error(err)
		}
	}
}

// round runs every function once over the namespace, and once per CLB.
func (s *space) round() {
	s.t.Helper()
	for _, f := range event.Functions {
		for id, data := range s.syncs() {
			if f != event.Frontend && id == "" {
				continue
			}
			s.sender().must(s.t, f, data)
		}
	}
}

// by awaits cond while events are sent by hand.
func (s *space) by(why string, cond func() (bool, string)) {
	s.t.Helper()
	s.await(why, func() (bool, string) {
		if ok, _ := cond(); ok {
			return true, ""
		}
		s.round()
		return cond()
	})
}

// ready tells whether a pod is.
func (s *space) ready(pod string) func() (bool, string) {
	return func() (bool, string) {
		p := s.getPod(pod)
		g := gate(p)
		return is(p, corev1.PodReady) && g != nil && g.Reason == readiness.ReasonReady, show(p)
	}
}

// "CLAIM=class: only loadBalancerClass: clb-direct.io/clb and the direct-access
// annotation"; anything else is left alone.
func TestServiceClaimedByClass(t *testing.T) {
	s := byHand(t, deployment{env: map[string]string{"CLAIM": "class"}})
	class := func(name string) func(*corev1.Service) {
		return func(o *corev1.Service) { o.Spec.LoadBalancerClass = &name }
	}
	s.service("unclassed")
	s.service("foreign", class("example.com/other"))
	s.service("indirect", class(desired.Class), with(desired.DirectAccess, "false"))
	before := s.versions()
	s.round()
	if diff := s.versions(); !maps.Equal(before, diff) || len(s.CLB.Calls()) > 0 {
		t.Errorf("want what isn't ours left alone, got versions %v, then %v, and %d CLB calls", before, diff, len(s.CLB.Calls()))
	}

	s.service("ours", class(desired.Class))
	s.pods("a")
	s.by("the pod is Ready", s.ready("a"))
	lb, ok := s.balancer(balancerOf(s.getService("ours")))
	if !ok || len(lb.Listeners) != 1 {
		t.Errorf("want a load balancer with a listener, got %+v", lb)
	}
	if n := len(s.CLB.LoadBalancers()); n != 1 {
		t.Errorf("want one load balancer, got %d", n)
	}
	s.settled()
	s.deleteService("ours")
	s.by("everything is released", func() (bool, string) {
		list, err := s.client.CoreV1().Services(s.name).List(t.Context(), metav1.ListOptions{})
		s.must(err)
		return len(list.Items) == 3 && len(s.CLB.LoadBalancers()) == 0, fmt.Sprintf("%d Services, %d load balancers", len(list.Items), len(s.CLB.LoadBalancers()))
	})
}

// "Or everything when the cluster is VPC-CNI by configuration."
func TestVPCCNIClusterBindsEveryPod(t *testing.T) {
	s := byHand(t, deployment{env: map[string]string{"NETWORK": "vpc-cni"}})
	s.service("web")
	// The emulated nodes belong to a mixed cluster and say so; where VPC-CNI is the
	// cluster's own network they would name that.
	s.pod("a", func(p *corev1.Pod) {
		p.Annotations = nil
		p.Spec.NodeSelector = map[string]string{"no-node": "has-this"}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	})
	s.place("a", "127.0.30.1")
	s.by("the pod is bound", func() (bool, string) {
		targets := s.targets(balancerOf(s.getService("web")))["TCP/80"]
		return len(targets) == 1 && targets[0].IP.String() == "127.0.30.1", describe(targets)
	})
}

// place gives a pod that no node took an address, as a kubelet would.
func (s *space) place(pod, ip string) {
	s.t.Helper()
	raw := fmt.Appendf(nil, `{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}],"startTime":%q}}`, ip, ip, time.Now().UTC().Format(time.RFC3339))
	_, err := s.client.CoreV1().Pods(s.name).Patch(s.t.Context(), pod, "application/merge-patch+json", raw, metav1.PatchOptions{}, "status")
	s.must(err)
}

// "Be right under both: where it is refused, the first Service port keeps the target,
// the other gets E4036 and doesn't hold the gate."
func TestSharedBackendIsE4036(t *testing.T) {
	s := byHand(t, deployment{clb: clb.Options{UniqueBackends: true}})
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	s.pods("a")
	s.by("the pod is Ready", s.ready("a"))
	id := balancerOf(s.getService("web"))
	s.awaitTargets(id, "TCP/80", target(s.getPod("a"), 80, 10))
	s.awaitTargets(id, "TCP/81")
	s.awaitEvent("Service", "web", "SharedBackend", "E4036", "port 81")
	var refused map[string]string
	s.must(json.Unmarshal([]byte(s.getService("web").Annotations[desired.Refused]), &refused))
	if want := map[string]string{"TCP/81": "E4036"}; !maps.Equal(refused, want) {
		t.Errorf("want %v recorded, got %v", want, refused)
	}
}

// "Both the synchronous and the asynchronous behaviour of the batch calls must be
// right."
func TestAsynchronousBatchCalls(t *testing.T) {
	s := byHand(t, deployment{clb: clb.Options{AsyncBatch: true}})
	s.pods("a", "bad")
	bad := s.awaitIP("bad")
	s.CLB.FailTargets(netip.MustParseAddr(bad.Status.PodIP))
	s.service("web")
	s.by("the pod is Ready", s.ready("a"))
	s.awaitTargets(balancerOf(s.getService("web")), "TCP/80", target(s.getPod("a"), 80, 10))
	s.awaitEvent("Pod", "bad", "BindFailed", bad.Status.PodIP)
	s.deletePod("a")
	s.by("the pod that is gone is unbound", func() (bool, string) {
		targets := s.targets(balancerOf(s.getService("web")))["TCP/80"]
		return len(targets) == 0, describe(targets)
	})
}

// "Credentials from the SCF environment at each event": an instance outlives those of
// its first one.
func TestCredentialsAreTakenAnewWithEachEvent(t *testing.T) {
	const lifetime = 3 * time.Second
	s := byHand(t, deployment{scf: scf.Options{CredentialLifetime: lifetime, Concurrency: 1}})
	s.service("web")
	s.by("the Service has an address", func() (bool, string) {
		return len(s.getService("web").Status.LoadBalancer.Ingress) > 0, "none"
	})
	s.settled()
	first := s.SCF.Invocations()[0]
	s.await("the first credentials are no longer good", func() (bool, string) { return time.Since(first.Start) > lifetime+time.Second, "" })
	s.settled()
	var last scf.Invocation
	for _, inv := range s.SCF.Invocations() {
		if inv.Key == first.Key {
			last = inv
		}
	}
	if last.PID != first.PID || last.Start.Sub(first.Start) < lifetime {
		t.Errorf("want one instance to take events past %s, got %d and %d, %s apart", lifetime, first.PID, last.PID, last.Start.Sub(first.Start))
	}
	for _, c := range s.CLB.Calls() {
		if strings.HasPrefix(c.Code, "AuthFailure") {
			t.Errorf("%s was refused with %s", c.Action, c.Code)
		}
	}
}

// relay is an API server that passes everything on to the real one and notes it.
type relay struct {
	*httptest.Server
	version string // what it says its version is, unless empty

	mu   sync.Mutex
	seen []exchange
}

type exchange struct{ method, path, accept, sent, got string }

func newRelay(t *testing.T, version string) *relay {
	t.Helper()
	target, err := url.Parse(shared.Cluster.Server)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(shared.Cluster.CA)
	r := &relay{version: version}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: transport,
		ModifyResponse: func(res *http.Response) error {
			q := res.Request
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen = append(r.seen, exchange{q.Method, q.URL.Path, q.Header.Get("Accept"), q.Header.Get("Content-Type"), res.Header.Get("Content-Type")})
			return nil
		},
	}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r.version != "" && q.URL.Path == "/version" {
			parts := strings.Split(strings.TrimPrefix(r.version, "v"), ".")
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"major": parts[0], "minor": parts[1], "gitVersion": r.version})
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

// env points functions at the relay.
func (r *relay) env() map[string]string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	return map[string]string{"KUBE_SERVER": r.URL, "KUBE_CA": base64.StdEncoding.EncodeToString(ca)}
}

// "Kubernetes access ..., protobuf on the wire."
func TestKubernetesIsSpokenToInProtobuf(t *testing.T) {
	r := newRelay(t, "")
	s := byHand(t, deployment{env: r.env()})
	s.service("web")
	s.pod("a", marked(desired.CustomWeight, "heavy")) // an Event is written too
	s.by("the pod is Ready", s.ready("a"))
	r.mu.Lock()
	defer r.mu.Unlock()
	const protobuf = "application/vnd.kubernetes.protobuf"
	resources := map[string]int{}
	for _, x := range r.seen {
		builtin := strings.Contains(x.path, "/services") || strings.Contains(x.path, "/pods") || strings.Contains(x.path, "/events") || strings.Contains(x.path, "/leases")
		if !builtin || strings.Contains(x.path, "tkeserviceconfigs") {
			continue
		}
		for _, kind := range []string{"services", "pods", "events", "leases"} {
			if strings.Contains(x.path, "/"+kind) {
				resources[kind]++
			}
		}
		if !strings.HasPrefix(x.got, protobuf) {
			t.Errorf("want %s %s answered in protobuf, got %s for Accept %s", x.method, x.path, x.got, x.accept)
		}
		if (x.method == http.MethodPost || x.method == http.MethodPut) && !strings.HasPrefix(x.sent, protobuf) {
			t.Errorf("want %s %s sent in protobuf, got %s", x.method, x.path, x.sent)
		}
	}
	if len(resources) != 4 {
		t.Errorf("want all four kinds seen, got %v", resources)
	}
}

// "The server's version is checked (1.12 or later, as the document asks)."
func TestOldKubernetesIsRefused(t *testing.T) {
	t.Run("Refused", func(t *testing.T) {
		s := byHand(t, deployment{env: newRelay(t, "v1.11.10").env()})
		s.service("web")
		before := s.versions()
		for _, f := range event.Functions {
			data := s.syncs()[""]
			data.LoadBalancers = []string{"lb-00000000"}
			r := s.sender().must(t, f, data)
			if r.Failure == nil || r.Failure.Kind != fault.Permanent || !strings.Contains(r.Failure.Message, "1.12") || !strings.Contains(r.Failure.Message, "1.11") {
				t.Errorf("%s: want a permanent failure that names 1.11 and 1.12, got %+v", f, r)
			}
		}
		if after := s.versions(); !maps.Equal(before, after) || len(s.CLB.Calls()) > 0 {
			t.Errorf("want nothing changed, got %v, then %v, and %d CLB calls", before, after, len(s.CLB.Calls()))
		}
	})
	t.Run("Oldest", func(t *testing.T) {
		s := byHand(t, deployment{env: newRelay(t, "v1.12.4").env()})
		s.service("web")
		s.pods("a")
		s.by("the pod is Ready", s.ready("a"))
	})
}

// "Missing configuration gets a clear error naming the field, with nothing changed."
func TestMissingConfigurationIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		env    map[string]string
		fields []string
	}{
		"Empty":   {map[string]string{"CLUSTER_ID": "", "KUBE_SERVER": ""}, []string{"CLUSTER_ID", "KUBE_SERVER"}},
		"Invalid": {map[string]string{"CLAIM": "all", "NETWORK": "flannel"}, []string{"CLAIM", "NETWORK"}},
		"NoToken": {map[string]string{"KUBE_TOKEN": ""}, []string{"KUBE_TOKEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := byHand(t, deployment{env: tc.env})
			s.service("web")
			before := s.versions()
			_, err := s.sender().send(t.Context(), event.Frontend, s.syncs()[""])
			for _, field := range tc.fields {
				if err == nil || !strings.Contains(err.Error(), field) {
					t.Errorf("want an error naming %s, got %v", field, err)
				}
			}
			if after := s.versions(); !maps.Equal(before, after) || len(s.CLB.Calls()) > 0 {
				t.Errorf("want nothing changed, got %v, then %v, and %d CLB calls", before, after, len(s.CLB.Calls()))
			}
		})
	}
	// Without the secret no function URL request can be told from anybody else's.
	s := byHand(t, deployment{env: map[string]string{"EVENT_SECRET": ""}})
	_, err := s.sender().send(t.Context(), event.Frontend, event.Sync{Objects: []event.Ref{{Namespace: s.name, Name: "web"}}})
	if err == nil || !strings.Contains(err.Error(), "EVENT_SECRET") || !strings.Contains(err.Error(), "401") {
		t.Errorf("want 401 naming EVENT_SECRET, got %v", err)
	}
	if calls := s.CLB.Calls(); len(calls) > 0 {
		t.Errorf("want no CLB call, got %s", calls[0].Action)
	}
}
