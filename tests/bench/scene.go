package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// sizes are how many pods there are.
var sizes = []int{100, 1_000, 10_000}

const (
	// perService is TOTAL_TARGET_BIND_QUOTA of a sample account, so that 10,000 pods
	// use up its 50 listeners of a CLB.
	perService = 200
	// servicePort is the first port of a Service.
	servicePort = 1000
	// writers is how many requests at a time make and reset pods.
	writers = 24
)

// scene is one size: a namespace and a CLB of its own, with everything in them. All
// sizes are there at the same time, so that their turns can alternate.
type scene struct {
	*bench
	size      int
	namespace string
	lb        string
	services  []event.Ref
	listeners []model.Listener
	pods      []pod
	turn      int  // picks pods to change
	opened    bool // gates were opened
}

// pod is one of a scene's, with where it is bound.
type pod struct {
	name, uid, ip string
	listener      string
}

func (p pod) target() model.Target {
	return model.Target{Place: model.Place{Listener: p.listener}, Address: model.Address{IP: p.ip, Port: setting.PodPort}, Weight: model.DefaultWeight, Tag: p.uid}
}

// address gives pod i of scene number n its own: 127.60.0.0, 127.61.0.0 and so on,
// far from the emulator's virtual addresses.
func address(n, i int) string {
	return netip.AddrFrom4([4]byte{127, byte(60 + n), byte(i >> 8), byte(i)}).String()
}

// populate makes all scenes.
func (b *bench) populate(ctx context.Context) error {
	if err := b.CreateNodes(ctx, slices.Max(sizes)); err != nil {
		return err
	}
	for n, size := range sizes {
		s := &scene{bench: b, size: size, namespace: fmt.Sprintf("bench-%d", size)}
		b.Say("%d pods: creating", size)
		if err := s.create(ctx, n); err != nil {
			return fmt.Errorf("creating %d pods: %w", size, err)
		}
		b.scenes = append(b.scenes, s)
	}
	return nil
}

func (s *scene) create(ctx context.Context, n int) error {
	err := s.CreateNamespace(ctx, s.namespace)
	if err != nil {
		return err
	}
	if s.lb, err = s.CreateLoadBalancer(ctx, s.namespace); err != nil {
		return err
	}
	if err := s.createServices(ctx); err != nil {
		return err
	}
	s.pods = make([]pod, s.size)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range s.pods {
		g.Go(func() (err error) {
			s.pods[i], err = s.createPod(gctx, i, address(n, i))
			return err
		})
	}
	return g.Wait()
}

// createServices makes a Service for each perService pods, and its listener.
func (s *scene) createServices(ctx context.Context) error {
	count := (s.size + perService - 1) / perService
	var wanted []model.WantedListener
	for k := range count {
		svc := service(s.namespace, serviceName(k), s.lb, servicePort+k)
		made, err := s.Kube.CoreV1().Services(s.namespace).Create(ctx, svc, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("creating a Service: %w", err)
		}
		s.services = append(s.services, event.Ref{Namespace: s.namespace, Name: made.Name})
		wanted = append(wanted, model.WantedListener{
			Name:     desired.ListenerName(stack.ClusterID, string(made.UID), model.TCP, servicePort+k),
			Protocol: model.TCP, Port: servicePort + k, Settings: checkEvery(slow),
		})
	}
	const perCall = 40 // CreateListener takes fewer than 50 ports
	for len(wanted) > 0 {
		n := min(perCall, len(wanted))
		if _, err := s.Session().CreateListeners(ctx, s.lb, wanted[:n]); err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	found, err := s.Session().Listeners(ctx, s.lb)
	if err != nil {
		return err
	}
	s.listeners = make([]model.Listener, count)
	for _, l := range found {
		s.listeners[l.Port-servicePort] = l
	}
	return nil
}

// Seconds between health checks: fast to find all pods Alive soon, slow so that
// thousands of checks don't disturb what is measured.
const (
	fast = 3
	slow = 100
)

func checkEvery(seconds int) model.Settings {
	on, wait, times := true, 2, 2
	return model.Settings{HealthEnabled: &on, Interval: &seconds, Timeout: &wait, HealthNum: &times, UnhealthNum: &times}
}

// setCheck changes how often the scene's targets are checked. Each change is a task to
// be polled for, so they wait side by side.
func (s *scene) setCheck(ctx context.Context, seconds int) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i, have := range s.listeners {
		want, changed := have, false
		if want.Attributes, changed = checkEvery(seconds).Apply(have.Attributes); !changed {
			continue
		}
		g.Go(func() error {
			s.listeners[i] = want
			return s.Session().ModifyListener(gctx, s.lb, have, want)
		})
	}
	return g.Wait()
}

func (s *scene) createPod(ctx context.Context, i int, ip string) (pod, error) {
	k := i / perService
	made, err := s.CreatePod(ctx, setting.Pod{
		Namespace: s.namespace, App: serviceName(k), IP: ip, Number: i, Hash: uint32(k) * 2654435761, Gated: true,
	})
	if err != nil {
		return pod{}, err
	}
	return pod{name: made.Name, uid: string(made.UID), ip: ip, listener: s.listeners[i/perService].ID}, nil
}

// pending is the patch that closes a gate again.
var pending = []byte(fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":"False","reason":"Reset","message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}]}}`, model.GateType))

// closeGates has all pods wait for their gates.
func (s *scene) closeGates(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, p := range s.pods {
		g.Go(func() error { return s.closeGate(gctx, p) })
	}
	return g.Wait()
}

func (s *scene) closeGate(ctx context.Context, p pod) error {
	_, err := s.Kube.CoreV1().Pods(s.namespace).Patch(ctx, p.name, types.StrategicMergePatchType, pending, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("closing the gate of %s: %w", p.name, err)
	}
	return nil
}

// unbindAll empties the CLB.
func (s *scene) unbindAll(ctx context.Context) error {
	session := s.Session()
	var ids []string
	for _, l := range s.listeners {
		ids = append(ids, l.ID)
	}
	targets, err := session.Targets(ctx, s.lb, ids, clb.TargetFilter{})
	for err == nil && len(targets) > 0 {
		n := min(len(targets), clb.MaxBatch)
		err = session.Unbind(ctx, s.lb, targets[:n])
		targets = targets[n:]
	}
	return err
}

// next picks another pod each time, all over the scene.
func (s *scene) next() pod {
	s.turn++
	return s.pods[s.turn*7919%len(s.pods)]
}

func serviceName(k int) string { return fmt.Sprintf("web-%02d", k) }

func service(namespace, name, lb string, port int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}, Annotations: map[string]string{
			desired.DirectAccess: "true", desired.ExistingLB: lb, desired.LoadBalancerID: lb,
		}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: int32(port), TargetPort: intstr.FromInt32(setting.PodPort)}},
		},
	}
}
