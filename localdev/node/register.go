package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientrecord "k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
)

// kubeletVersion is the version of the kubelet that is emulated.
const kubeletVersion = "v1.37.2"

// closeTimeout bounds what Close asks of the API server.
const closeTimeout = 5 * time.Second

// host is one emulated node.
type host struct {
	name   string
	block  *block
	client *http.Client // of probes
	hooks  *http.Client
	server *http.Server // on the kubelet's port
	events clientrecord.EventRecorder
	// down: it takes no pods any more.
	down atomic.Bool
}

// register makes the Node object, or takes over the one that is there, and
// makes it ready for pods.
func (f *Fleet) register(ctx context.Context, h *host) error {
	nodes := f.client.CoreV1().Nodes()
	labels := map[string]string{
		corev1.LabelHostname:   h.name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
	maps.Copy(labels, f.opts.Labels)
	_, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: h.name, Labels: labels}, Spec: corev1.NodeSpec{Unschedulable: f.opts.Unschedulable}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("registering node %s: %w", h.name, err)
	}
	// Others write to a new Node too, so a conflict is nothing special.
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		node, err := nodes.Get(ctx, h.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if node.Labels == nil {
			node.Labels = map[string]string{}
		}
		maps.Copy(node.Labels, labels)
		// Admission puts the taint on every new node; taking it off is the node
		// lifecycle controller's work, which doesn't run here.
		node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady })
		if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
		f.fillStatus(h, &node.Status)
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("making node %s ready: %w", h.name, err)
	}
	return nil
}

func (f *Fleet) fillStatus(h *host, status *corev1.NodeStatus) {
	status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(f.opts.PodCapacity, resource.DecimalSI),
	}
	if n := f.opts.ENICapacity; n > 0 {
		status.Capacity[ResourceENIIP] = *resource.NewQuantity(n, resource.DecimalSI)
		status.Capacity[ResourceDirectENI] = *resource.NewQuantity(n, resource.DecimalSI)
	}
	status.Allocatable = status.Capacity
	status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: h.block.own.String()},
		{Type: corev1.NodeHostName, Address: h.name},
	}
	status.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	status.NodeInfo = corev1.NodeSystemInfo{
		KubeletVersion:          kubeletVersion,
		ContainerRuntimeVersion: "containerd://1.6.20-localdev",
		OperatingSystem:         runtime.GOOS,
		Architecture:            runtime.GOARCH,
		OSImage:                 "emulated",
		KernelVersion:           "emulated",
	}
	now := metav1.NewTime(f.now())
	status.Conditions = nil
	for _, c := range []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		status.Conditions = append(status.Conditions, c)
	}
}

// unregister removes the Node objects, as far as the API server still answers.
func (f *Fleet) unregister() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, h := range f.hosts {
		err := f.client.CoreV1().Nodes().Delete(ctx, h.name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing node %s: %w", h.name, err)
		}
	}
	return nil
}
