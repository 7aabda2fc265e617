package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/desired"
)

// place is a stack and the files that name it.
type place struct {
	*testing.T
	s      *stack.Stack
	client kubernetes.Interface
	dir    string
}

// write writes a file of NAME=value lines.
func (p *place) write(name string, vars map[string]string) string {
	p.Helper()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s=%s\n", k, vars[k])
	}
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		p.Fatal(err)
	}
	return path
}

// key is a file with a key that may do what infra/cam says, without some actions.
func (p *place) key(name string, without ...string) string {
	p.Helper()
	var policies []cam.Policy
	for _, file := range []string{"functions.json", "forwarder.json"} {
		raw, err := os.ReadFile("../cam/" + file)
		if err != nil {
			p.Fatal(err)
		}
		for _, action := range without {
			raw = regexp.MustCompile(`"`+action+`",?\s*`).ReplaceAll(raw, nil)
			raw = regexp.MustCompile(`,(\s*\])`).ReplaceAll(raw, []byte("$1"))
		}
		var any struct{ Statement []struct{ Action []string } }
		if err := json.Unmarshal(raw, &any); err != nil {
			p.Fatal(err)
		}
		policy, err := cam.Parse(raw)
		if err != nil {
			p.Fatal(err)
		}
		policies = append(policies, policy)
	}
	p.s.Store.Add(tc3.Credential{SecretID: "AKID" + name, SecretKey: "secret-" + name, Principal: name, Policies: policies})
	return p.write(name, map[string]string{"TENCENTCLOUD_SECRETID": "AKID" + name, "TENCENTCLOUD_SECRETKEY": "secret-" + name})
}

func (p *place) options(env map[string]string, credentials string) options {
	vars := maps.Clone(p.s.Env)
	maps.Copy(vars, env)
	return options{
		root: "../..", env: p.write(fmt.Sprintf(".env.%d", time.Now().UnixNano()), vars), credentials: credentials, kubeconfig: p.s.Cluster.Kubeconfig,
		scfEndpoint: p.s.SCF.Endpoint(), scfScheme: "HTTP",
		drainAddress: p.s.HookAddress(), probeImage: "nginx",
	}
}

func (p *place) check(o options) (well bool, sheet string) {
	p.Helper()
	var out bytes.Buffer
	well = check(p.Context(), o, &out)
	return well, out.String()
}

func (p *place) service(name string, edit func(*corev1.Service)) {
	p.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{desired.DirectAccess: "true"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: new(desired.Class),
			Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
	if edit != nil {
		edit(s)
	}
	if _, err := p.client.CoreV1().Services("default").Create(p.Context(), s, metav1.CreateOptions{}); err != nil {
		p.Fatal(err)
	}
}

// await checks until the sheet has a line: the forwarder learns of Services a moment later.
func (p *place) await(o options, line string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
	defer cancel()
	for {
		_, sheet := p.check(o)
		if strings.Contains(sheet, line) {
			return sheet
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			p.Fatalf("awaiting %q in\n%s", line, sheet)
		}
	}
}

// Against the emulators all is well; and what isn't is named, with what to do.
func TestCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a stack")
	}
	fast := clb.Latencies{API: time.Millisecond, Task: clb.Range{Min: 10 * time.Millisecond, Max: 20 * time.Millisecond}, Create: 100 * time.Millisecond}
	s, err := stack.Start(t.Context(), stack.Options{Root: "../..", Claim: "class", Network: "vpc-cni", CLB: clb.Options{Latencies: &fast}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &place{T: t, s: s, dir: t.TempDir()}
	if p.client, err = kubernetes.NewForConfig(s.Cluster.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	all := p.key("all")
	p.service("web", nil)
	sheet := p.await(p.options(nil, all), "got its readiness gate")
	for _, line := range []string{
		"ok           credentials", "ok           region", "ok           permissions (CAM)", "ok           functions", "ok           cluster",
		"ok           permissions (Kubernetes)", "ok           webhook", "ok           drain address", "ok           other controllers", "all is well",
	} {
		if !strings.Contains(sheet, line) {
			t.Errorf("want %q in\n%s", line, sheet)
		}
	}
	pods, err := p.client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil || slices.ContainsFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp == nil }) {
		t.Errorf("want no pod left behind: %v %v", pods.Items, err)
	}

	rejected := p.write("rejected", map[string]string{"TENCENTCLOUD_SECRETID": "AKIDnobody", "TENCENTCLOUD_SECRETKEY": "x"})
	quick := func(env map[string]string, credentials string) options {
		o := p.options(env, credentials)
		o.probeImage = ""
		return o
	}
	nodrain := p.options(nil, "")
	nodrain.drainAddress, nodrain.probeImage = "127.0.0.1:1", "nginx"
	for name, tc := range map[string]struct {
		reason string
		o      options
		want   []string
	}{
		"Permission":    {reason: "the exact missing action is named", o: quick(nil, p.key("without-one", "clb:BatchModifyTargetTag")), want: []string{"WRONG        permission clb:BatchModifyTargetTag", "infra/cam/functions.json", "one thing is wrong"}},
		"ReadOnly":      {reason: "also one that reads", o: quick(nil, p.key("without-read", "clb:DescribeTargetHealth")), want: []string{"permission clb:DescribeTargetHealth", "one thing is wrong"}},
		"Credentials":   {reason: "a key that isn't known", o: quick(nil, rejected), want: []string{"WRONG        credentials"}},
		"Region":        {reason: "a region that the API doesn't have", o: quick(map[string]string{"REGION": "ap-nowhere"}, all), want: []string{"WRONG        region", "ap-nowhere"}},
		"Token":         {reason: "a token that isn't valid", o: quick(map[string]string{"KUBE_TOKEN": "nonsense"}, ""), want: []string{"WRONG        cluster"}},
		"Unreached":     {reason: "an API server that isn't there", o: quick(map[string]string{"KUBE_SERVER": "https://127.0.0.1:1"}, ""), want: []string{"WRONG        cluster", "KUBE_SERVER"}},
		"Field":         {reason: "a setting that can't be", o: quick(map[string]string{"VPC_ID": "my vpc", "CLAIM": "all"}, ""), want: []string{"WRONG        settings", "VPC_ID", "CLAIM"}},
		"NoCredentials": {reason: "what isn't named isn't asked", o: quick(nil, ""), want: []string{"not checked  credentials", "all is well"}},
	} {
		t.Run(name, func(t *testing.T) {
			if well, sheet := p.check(tc.o); well != slices.Contains(tc.want, "all is well") || !containsAll(sheet, tc.want) {
				t.Errorf("%s: want %q in\n%s", tc.reason, tc.want, sheet)
			}
		})
	}

	// What another controller would act on as well.
	lb := "lb-both"
	both := func(s *corev1.Service) { s.Annotations[desired.ExistingLB] = lb }
	p.service("ours", both)
	p.service("theirs", func(s *corev1.Service) {
		s.Annotations = map[string]string{desired.LoadBalancerID: lb}
		s.Spec.LoadBalancerClass = nil
	})
	if _, sheet := p.check(quick(nil, "")); !containsAll(sheet, []string{"WRONG        other controllers", "default/theirs", tkeMode + "=" + tkeSkip}) {
		t.Errorf("two controllers at one port are told of:\n%s", sheet)
	}
	if _, err := p.client.CoreV1().ConfigMaps(tkeNamespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: tkeConfig}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, sheet := p.check(quick(map[string]string{"CLAIM": "annotation"}, "")); !containsAll(sheet, []string{"WRONG        other controllers", "CLAIM=class"}) {
		t.Errorf("annotation beside TKE's controller is told of:\n%s", sheet)
	}
	if well, sheet := p.check(nodrain); well || !containsAll(sheet, []string{"WRONG        drain address", "is not reached from a node"}) {
		t.Errorf("a drain address that nodes don't reach is told of:\n%s", sheet)
	}
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}
