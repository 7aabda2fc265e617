package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Bounds of the delay before a write that failed is tried again.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// What changes close together is written at once, as the kubelet's status
// manager does: a container that runs and is ready a moment later is one patch.
// The status before the sandbox, which says little, is left out where the
// sandbox is near. Patches are most of what pods cost the API server.
const (
	settle     = 10 * time.Millisecond
	nearEnough = 250 * time.Millisecond
)

// publish tells the API server what has changed. What fails is tried again; a
// pod that is gone, or another under the same name, ends it.
func (w *worker) publish(next *deadline) {
	err := w.write(next)
	switch {
	case err == nil:
		w.retry = 0
	case w.ctx.Err() != nil:
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		// The patch names the UID, so a conflict means that this pod is no more.
		w.gone = true
		next.at(w.fleet.now())
	default:
		w.retry = min(max(2*w.retry, retryFirst), retryMost)
		w.fleet.opts.Log.Warn("writing a pod's status", "pod", w.key, "err", err, "retry", w.retry)
		next.at(w.fleet.now().Add(w.retry))
	}
}

func (w *worker) write(next *deadline) error {
	if !w.frozen {
		if err := w.writeNetworksStatus(); err != nil {
			return fmt.Errorf("annotating %s: %w", w.key, err)
		}
		if err := w.writeStatus(next); err != nil {
			return fmt.Errorf("patching the status of %s: %w", w.key, err)
		}
	}
	if w.over && w.pod.DeletionTimestamp != nil && !w.deleted {
		if err := w.deleteObject(); err != nil {
			return fmt.Errorf("deleting %s: %w", w.key, err)
		}
	}
	return nil
}

// writeStatus patches the status if it differs from the API's, as the kubelet's
// status manager does.
func (w *worker) writeStatus(next *deadline) error {
	now := w.fleet.now()
	status := newStatus(w.pod, w.sight(), metav1.NewTime(now).Rfc3339Copy())
	if apiequality.Semantic.DeepEqual(status, w.pod.Status) {
		w.changed = time.Time{}
		return nil
	}
	if w.changed.IsZero() {
		w.changed = now
	}
	write := w.changed.Add(settle)
	if !w.ip.IsValid() && !w.over && w.sandboxAt.Sub(now) < nearEnough {
		write = w.sandboxAt.Add(settle)
	}
	if now.Before(write) && !w.over {
		next.at(write)
		return nil
	}
	w.changed = time.Time{}
	patch, err := statusPatch(w.uid, &w.pod.Status, &status)
	if err != nil {
		return err
	}
	pod, err := w.fleet.client.CoreV1().Pods(w.key.Namespace).Patch(w.ctx, w.key.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	w.see(trimmed(pod))
	return nil
}

// statusPatch is the difference of two statuses with the UID as precondition.
// Conditions of others are the same in both and so never in it.
func statusPatch(uid types.UID, from, to *corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: *from})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Status: *to})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}

// sight gathers what the node sees of the pod.
func (w *worker) sight() sight {
	s := sight{hostIP: w.host.block.own.String(), sandbox: w.sandbox, over: w.over, fate: w.fate}
	if w.ip.IsValid() {
		s.podIP = w.ip.String()
	}
	statuses := map[string]corev1.ContainerStatus{}
	for _, c := range w.init {
		status := c.status()
		// A regular init container is ready once it has succeeded.
		status.Ready = c.state == exited
		if c.state == waiting {
			status.State.Waiting.Reason = "PodInitializing"
		}
		statuses[c.spec.Name] = status
	}
	for _, c := range w.containers {
		statuses[c.spec.Name] = c.status()
	}
	for _, c := range w.pod.Spec.InitContainers {
		s.init = append(s.init, statuses[c.Name])
	}
	for _, c := range w.pod.Spec.Containers {
		s.containers = append(s.containers, statuses[c.Name])
	}
	return s
}

// networkStatus is one network of a pod as multus writes it.
type networkStatus struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	IPs       []string `json:"ips"`
	MAC       string   `json:"mac"`
	Default   bool     `json:"default"`
	DNS       struct{} `json:"dns"`
}

// writeNetworksStatus writes the annotation that TKE's CNI leaves on a pod when
// it has given it an address.
func (w *worker) writeNetworksStatus() error {
	if !w.sandbox || w.pod.Spec.HostNetwork {
		return nil
	}
	ip := w.ip.As4()
	value, err := json.Marshal([]networkStatus{{
		Name:      networkOf(w.pod, w.fleet.opts.Network),
		Interface: "eth0",
		IPs:       []string{w.ip.String()},
		MAC:       fmt.Sprintf("52:54:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3]),
		Default:   true,
	}})
	if err != nil {
		return err
	}
	if w.pod.Annotations[AnnotationNetworksStatus] == string(value) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         w.uid,
		"annotations": map[string]string{AnnotationNetworksStatus: string(value)},
	}})
	if err != nil {
		return err
	}
	pod, err := w.fleet.client.CoreV1().Pods(w.key.Namespace).Patch(w.ctx, w.key.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	w.see(trimmed(pod))
	return nil
}

// networkOf names a pod's network: what it asks for by annotation or resource,
// else the cluster's own.
func networkOf(pod *corev1.Pod, otherwise string) string {
	if asked := pod.Annotations[AnnotationNetworks]; asked == networkRouteENI || asked == networkDirectENI {
		return asked
	}
	for _, c := range pod.Spec.Containers {
		for resource, network := range map[corev1.ResourceName]string{ResourceENIIP: networkRouteENI, ResourceDirectENI: networkDirectENI} {
			if q := c.Resources.Requests[resource]; !q.IsZero() {
				return network
			}
		}
	}
	return cmp.Or(pod.Annotations[AnnotationNetworks], otherwise)
}

// deleteObject removes the object of a pod that has ended.
func (w *worker) deleteObject() error {
	err := w.fleet.client.CoreV1().Pods(w.key.Namespace).Delete(w.ctx, w.key.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64),
		Preconditions:      metav1.NewUIDPreconditions(string(w.uid)),
	})
	if err != nil {
		return err
	}
	w.deleted = true
	return nil
}

// trimmed drops what nobody here reads and what takes the most room.
func trimmed(pod *corev1.Pod) *corev1.Pod {
	pod.ManagedFields = nil
	return pod
}

// newer says whether one version of an object is later than another. Resource
// versions of one resource are ordered as numbers.
func newer(a, b *corev1.Pod) bool {
	x, errX := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, errY := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return errX != nil || errY != nil || x > y
}

// gatesDiffer says whether a readiness gate's condition has changed.
func gatesDiffer(a, b *corev1.Pod) bool {
	for _, gate := range b.Spec.ReadinessGates {
		x, y := condition(a.Status.Conditions, gate.ConditionType), condition(b.Status.Conditions, gate.ConditionType)
		if (x == nil) != (y == nil) || x != nil && x.Status != y.Status {
			return true
		}
	}
	return false
}

func annotationsDiffer(a, b *corev1.Pod) bool { return !maps.Equal(a.Annotations, b.Annotations) }
