package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/desired"
)

const (
	// services are how many Services there are, each with a CLB of its own, namespaces
	// how many they are in.
	services, namespaces = 100, 10
	// small and real are pods' sizes as JSON, in bytes: of the objects that the figures
	// for the reference were taken with, and of a pod in a real cluster.
	small, real = 3700, 15000
	// revision is the label that a change sets.
	revision = "bench/revision"
)

// key is a pod of the benchmark.
type key struct {
	namespace, name, app, balancer, ip string
	uid                                types.UID
	size, change                       int
	// version is what it was last written in; gone: it was deleted in that.
	version uint64
	gone    bool
}

// pod i is behind Service i modulo services.
func newKey(i, size int) *key {
	s := i % services
	return &key{
		namespace: namespaceOf(s), name: fmt.Sprintf("web-%03d-7d9c5b8f4-%05d", s, i), app: appOf(s), balancer: balancerOf(s),
		ip: fmt.Sprintf("10.%d.%d.%d", 64+i>>16, i>>8&255, i&255), uid: types.UID(fmt.Sprintf("7c0e8f52-3d1b-4c7a-9e55-%012d", i)), size: size,
	}
}

func namespaceOf(s int) string { return fmt.Sprintf("bench-%02d", s%namespaces) }
func appOf(s int) string       { return fmt.Sprintf("web-%03d", s) }
func balancerOf(s int) string  { return fmt.Sprintf("lb-%03d", s) }

// service s is a claimed one.
func service(s int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(s), Name: appOf(s), Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: balancerOf(s)}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": appOf(s)}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}
}

// object is the pod as an API server stores a running one, size bytes of JSON or so.
func (k *key) object() *corev1.Pod {
	at := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	ready := func(t corev1.PodConditionType) corev1.PodCondition {
		return corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: at}
	}
	limits := corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("1Gi"), "tke.cloud.tencent.com/eni-ip": resource.MustParse("1")}
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("http"), Scheme: "HTTP"}}, PeriodSeconds: 5, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.namespace, Name: k.name, UID: k.uid, CreationTimestamp: at, GenerateName: k.app + "-7d9c5b8f4-",
			Labels:          map[string]string{"app": k.app, "pod-template-hash": "7d9c5b8f4", "app.kubernetes.io/version": "v1.42.7", "team": "payments", revision: strconv.Itoa(k.change)},
			Annotations:     map[string]string{"tke.cloud.tencent.com/networks-status": `[{"name":"tke-route-eni","interface":"eth0","ips":["` + k.ip + `"],"mac":"52:54:00:aa:bb:cc","default":true}]`, "checksum/config": strings.Repeat("a1", 32)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: k.app + "-7d9c5b8f4", UID: "0a1b2c3d-0000-4000-8000-000000000000", Controller: new(true), BlockOwnerDeletion: new(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName: "10.0.3.17", SchedulerName: "bench", RestartPolicy: "Always", DNSPolicy: "ClusterFirst", ServiceAccountName: "default", TerminationGracePeriodSeconds: new(int64(30)),
			SecurityContext: &corev1.PodSecurityContext{}, EnableServiceLinks: new(true), Priority: new(int32(0)),
			Containers: []corev1.Container{{
				Name: "web", Image: "ccr.ccs.tencentyun.com/storefront/web:v1.42.7", Args: []string{"--listen=:8080", "--config=/etc/web/config.yaml"},
				Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}, {Name: "metrics", ContainerPort: 9090, Protocol: "TCP"}},
				Resources: corev1.ResourceRequirements{Limits: limits, Requests: limits}, ReadinessProbe: probe, LivenessProbe: probe,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File", ImagePullPolicy: "IfNotPresent",
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: k.ip, PodIPs: []corev1.PodIP{{IP: k.ip}}, HostIP: "10.0.3.17", StartTime: &at, QOSClass: "Guaranteed",
			Conditions: []corev1.PodCondition{ready(corev1.PodReadyToStartContainers), ready(corev1.PodInitialized), ready(corev1.PodReady), ready(corev1.ContainersReady), ready(corev1.PodScheduled)},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "web", Ready: true, Started: new(true), Image: "ccr.ccs.tencentyun.com/storefront/web:v1.42.7", ImageID: "ccr.ccs.tencentyun.com/storefront/web@sha256:" + strings.Repeat("b2", 32),
				ContainerID: "containerd://" + fmt.Sprintf("%064s", k.uid), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
			}},
		},
	}
	// The rest is what pods are made big by: variables, and who has written which field.
	for i := 0; k.size > small && i < 40; i++ {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("STOREFRONT_SETTING_%02d", i), Value: strings.Repeat("v", 60)})
	}
	fields := k.size - 2900
	if k.size > small {
		fields -= 4300
	}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", Operation: "Update", APIVersion: "v1", Time: &at, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"` + strings.Repeat("f", max(fields, 0)) + `":{}}}`)}}
	return p
}

// put writes the pod past the API server.
func (b *bench) put(ctx context.Context, k *key) error {
	b.mu.Lock()
	p := k.object()
	b.mu.Unlock()
	version, err := b.cluster.Put(ctx, "pods", k.namespace, k.name, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	k.version = max(k.version, version)
	return err
}

// rewrite changes the pod past the API server.
func (b *bench) rewrite(ctx context.Context, k *key) error {
	b.mu.Lock()
	k.change++
	b.mu.Unlock()
	return b.put(ctx, k)
}

// write changes the pod over the API.
func (b *bench) write(ctx context.Context, k *key) error {
	b.mu.Lock()
	k.change++
	body := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"%d"}}}`, revision, k.change)
	b.mu.Unlock()
	p, err := b.client.CoreV1().Pods(k.namespace).Patch(ctx, k.name, types.MergePatchType, body, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("changing a pod: %w", err)
	}
	version, err := strconv.ParseUint(p.ResourceVersion, 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	k.version = max(k.version, version)
	return err
}

// remove deletes the pod over the API.
func (b *bench) remove(ctx context.Context, k *key) error {
	k.gone = true
	if err := b.client.CoreV1().Pods(k.namespace).Delete(ctx, k.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		return fmt.Errorf("deleting a pod: %w", err)
	}
	k.version++ // whatever its deletion's is, it is newer
	return nil
}

// populate has there be n pods of size, and no others.
func (b *bench) populate(ctx context.Context, n, size int) error {
	b.progress.Say("%d pods of %d bytes", n, size)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		switch {
		case i < len(b.keys) && b.keys[i].size == size && !b.keys[i].gone:
			continue
		case i < len(b.keys):
			b.keys[i] = newKey(i, size)
		default:
			b.keys = append(b.keys, newKey(i, size))
		}
		k := b.keys[i]
		g.Go(func() error { return b.put(ctx, k) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.cluster.Compact(ctx)
}
