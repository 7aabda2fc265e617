package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

//go:embed site.yaml
var siteObjects string

const (
	// namespace is where all sites are.
	namespace = "chaos"
	// sites are Deployments of replicas pods each, on balancers load balancers.
	sites, replicas, balancers = 8, 4, 2
	// nodes is enough for one to go.
	nodes = 4
)

// site is a Deployment behind a Service.
type site struct {
	name, lb string
	vip      netip.Addr
	// web, single and steady are its ports on the load balancer.
	web, single, steady uint16
	// early: its applications listen before they are ready.
	early bool
}

func (s *site) objects() string {
	return strings.NewReplacer("{{name}}", s.name, "{{lb}}", s.lb, "{{early}}", fmt.Sprint(s.early),
		"{{web}}", fmt.Sprint(s.web), "{{single}}", fmt.Sprint(s.single), "{{steady}}", fmt.Sprint(s.steady)).Replace(siteObjects)
}

// stage is where it plays.
type stage struct {
	*stack.Stack
	setting.Progress
	o       options
	client  kubernetes.Interface
	account *setting.Account
	sites   []*site
	watch   *watching
	book    *book
	report  *report
	// forwarders are the replicas that run.
	forwarders *forwarders
}

// perform starts everything, and takes one round after the other.
func perform(ctx context.Context, o options, plan *plan, r *report) (err error) {
	log := io.Discard
	if o.log != "" {
		f, err := os.Create(o.log)
		if err != nil {
			return fmt.Errorf("creating the log: %w", err)
		}
		defer f.Close()
		log = f
	}
	s := &stage{o: o, report: r, book: newBook(), Progress: setting.Progress{Began: time.Now()}}
	s.Say("seed %d; starting a control plane, %d nodes, a CLB, SCF with the functions, two replicas of the forwarder", o.seed, nodes)
	// Backoff after a crash is a kubelet's own affair, and longer than a round.
	s.Stack, err = stack.Start(ctx, stack.Options{
		Root: o.root, Nodes: nodes, Timers: true, NoForwarder: true, Progress: &s.Progress, Log: log,
		CLB:  clb.Options{Seed: o.seed, OnFlow: s.book.flow},
		Node: node.Options{ReuseAddresses: true, BackoffInitial: 2 * time.Second, BackoffMax: 4 * time.Second},
	})
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	s.forwarders = &forwarders{stack: s.Stack}
	defer func() { err = errors.Join(err, s.forwarders.stop(), s.Close()) }()
	for i := range 2 {
		if err := s.forwarders.start(ctx, i); err != nil {
			return err
		}
	}
	cfg := s.Cluster.RESTConfig()
	cfg.QPS = -1
	// Rounds go on although the API server is away.
	if s.client, err = kubernetes.NewForConfig(cluster.Patient(cfg)); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if s.account, err = setting.NewAccount(s.Stack); err != nil {
		return err
	}
	r.Latencies = s.CLB.Latencies()
	s.watch = newWatching(s.Stack, s.client)
	stop, err := s.watch.begin(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.appear(ctx); err != nil {
		return fmt.Errorf("making the sites: %w", err)
	}
	defer s.press()()
	began := time.Now()
	defer func() { r.Seconds = time.Since(began).Round(time.Millisecond).Seconds() }()
	return s.rounds(ctx, plan)
}

// appear makes the load balancers and the sites, and waits until everything serves.
func (s *stage) appear(ctx context.Context) error {
	if err := s.account.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	var lbs []string
	for i := range balancers {
		id, err := s.account.CreateLoadBalancer(ctx, fmt.Sprintf("chaos-%d", i))
		if err != nil {
			return err
		}
		lbs = append(lbs, id)
	}
	var all bytes.Buffer
	for i := range sites {
		n := uint16(i)
		at := &site{name: fmt.Sprintf("site-%c", 'a'+i), lb: lbs[i*balancers/sites], web: 8000 + n, single: 9000 + n, steady: 9100 + n, early: i%2 == 0}
		for _, lb := range s.CLB.LoadBalancers() {
			if lb.ID == at.lb {
				at.vip = lb.VIP
			}
		}
		s.sites = append(s.sites, at)
		fmt.Fprintf(&all, "---\n%s\n", at.objects())
	}
	if err := s.Kubectl(ctx, &all, "-n", namespace, "apply", "-f", "-"); err != nil {
		return err
	}
	s.Say("%d Deployments of %d pods behind %d Services on %d load balancers are coming up", sites, replicas, sites, balancers)
	if err := s.populate(ctx); err != nil {
		return err
	}
	if err := setting.Await(ctx, "all pods to be Ready", func() (bool, error) {
		for _, at := range s.sites {
			if ready, all := s.watch.count(at.name); ready != replicas || all != replicas {
				return false, nil
			}
		}
		return true, nil
	}); err != nil {
		return err
	}
	return s.reschedule(ctx)
}

// populate gives the Deployments their pods, once those get drain hooks: of what is made
// with the first Service of a namespace, some may come before the API server asks for them.
func (s *stage) populate(ctx context.Context) error {
	for _, at := range s.sites {
		probe := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Labels: map[string]string{"app": at.name}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
		}
		if err := setting.Await(ctx, "pods of "+at.name+" to get drain hooks", func() (bool, error) {
			pod, err := s.client.CoreV1().Pods(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil && pod.Annotations[model.DrainToken] != "", err
		}); err != nil {
			return err
		}
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
		if _, err := s.client.AppsV1().Deployments(namespace).Patch(ctx, at.name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("scaling %s: %w", at.name, err)
		}
	}
	return nil
}

// reschedule has the listeners of kept UDP flows move them when a weight becomes 0, as
// who has such flows sets it at the load balancer.
func (s *stage) reschedule(ctx context.Context) error {
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", s.CLB.Endpoint()
	console, err := api.NewClient(common.NewCredential(s.Account.SecretID, s.Account.SecretKey), stack.Region, p)
	if err != nil {
		return fmt.Errorf("making the CLB client: %w", err)
	}
	for _, lb := range s.CLB.LoadBalancers() {
		for _, l := range lb.Listeners {
			if l.Protocol != "UDP" || l.Port < 9100 {
				continue
			}
			req := api.NewModifyListenerRequest()
			req.LoadBalancerId, req.ListenerId, req.RescheduleTargetZeroWeight = &lb.ID, &l.ID, new(true)
			if err := setting.Await(ctx, "the listener to move flows", func() (bool, error) {
				// Writes to one load balancer come one at a time; it may be busy.
				_, err := console.ModifyListenerWithContext(ctx, req)
				return err == nil, nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// press has all sites asked until stop is called.
func (s *stage) press() (stop func()) {
	rates := load.Rates{}
	for kind, rate := range load.DefaultRates {
		rates[kind] = rate * s.o.pace
	}
	var stops []func()
	for i, at := range s.sites {
		stops = append(stops, load.Press(load.Target{
			Site: at.name, From: netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}),
			Web: netip.AddrPortFrom(at.vip, at.web), Single: netip.AddrPortFrom(at.vip, at.single), Steady: netip.AddrPortFrom(at.vip, at.steady),
		}, rates, s.book.sample))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}
