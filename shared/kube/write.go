package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

const mergePatch = types.MergePatchType

func uid(s string) types.UID { return types.UID(s) }

func isAlreadyExists(err error) bool { return apierrors.IsAlreadyExists(err) }

// PatchCondition writes the pod's gate condition, and only if the pod is still the
// one we looked at: UID and resourceVersion are preconditions, a mismatch is a
// Conflict. Other writers' conditions are never touched. A transition is a change of
// status, or anew.
func (c *Client) PatchCondition(ctx context.Context, p *model.Pod, cond model.Condition, anew bool, now time.Time) error {
	// Our clock may be behind the kubelet's; a condition older than the sandbox it
	// speaks of would be decided once more.
	cond.Since = now
	if now.Before(p.SandboxSince) {
		cond.Since = p.SandboxSince
	}
	if !anew && p.Gate != nil && p.Gate.Status == cond.Status && !p.Gate.Since.IsZero() {
		cond.Since = p.Gate.Since // only a change of status is a transition
	}
	_, err := c.patchConditions(ctx, p, map[string]model.Condition{model.GateType: cond})
	return err
}

// PatchDrain writes the pod's marks and its condition DrainedType under the same
// preconditions; p is then as the server has it.
func (c *Client) PatchDrain(ctx context.Context, p *model.Pod, drains map[string]model.Drain, drained model.Condition, now time.Time) error {
	drained.Since = now
	if p.Drained != nil && p.Drained.Status == drained.Status && !p.Drained.Since.IsZero() {
		drained.Since = p.Drained.Since
	}
	out, err := c.patchConditions(ctx, p, map[string]model.Condition{
		model.DrainingType: {Status: len(drains) > 0, Reason: drained.Reason, Message: model.FormatDrains(drains), Since: now},
		model.DrainedType:  drained,
	})
	if err == nil {
		*p = out
	}
	return err
}

// patchConditions writes conditions by type and gives the pod as the server has it then.
func (c *Client) patchConditions(ctx context.Context, p *model.Pod, conditions map[string]model.Condition) (model.Pod, error) {
	var list []any
	for _, kind := range slices.Sorted(maps.Keys(conditions)) {
		cond := conditions[kind]
		status := corev1.ConditionFalse
		if cond.Status {
			status = corev1.ConditionTrue
		}
		list = append(list, map[string]any{
			"type":               kind,
			"status":             status,
			"reason":             cond.Reason,
			"message":            cond.Message,
			"lastTransitionTime": metav1.NewTime(cond.Since),
		})
	}
	op := "writing the condition of pod " + p.Ref().String()
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID, "resourceVersion": p.ResourceVersion},
		"status":   map[string]any{"conditions": list},
	})
	if err != nil {
		return model.Pod{}, fault.New(fault.Permanent, op, err)
	}
	var out corev1.Pod
	if err := c.core.Patch(types.StrategicMergePatchType).Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("status").Body(body).Do(ctx).Into(&out); err != nil {
		return model.Pod{}, classify(op, err)
	}
	return c.podFrom(&out), nil
}

// PatchFront changes annotations (nil removes one) and, when finalizers isn't nil,
// the whole list of finalizers, of the Service or Ingress as it was read; f is then
// as the server has it.
func (c *Client) PatchFront(ctx context.Context, f *model.Front, annotations map[string]any, finalizers []string) error {
	about := asRead(f)
	if len(annotations) > 0 {
		about["annotations"] = annotations
	}
	if finalizers != nil {
		about["finalizers"] = finalizers
	}
	return c.patchFront(ctx, "writing "+f.String(), f, map[string]any{"metadata": about})
}

// PatchFrontStatus writes the load balancer's addresses, IPs or host names, into
// the status of the Service or Ingress; none clears it. f is then as the server has
// it.
func (c *Client) PatchFrontStatus(ctx context.Context, f *model.Front, addresses []string) error {
	ingress := []map[string]string{}
	for _, a := range addresses {
		if net.ParseIP(a) != nil {
			ingress = append(ingress, map[string]string{"ip": a})
		} else {
			ingress = append(ingress, map[string]string{"hostname": a})
		}
	}
	status := map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}
	return c.patchFront(ctx, "writing the status of "+f.String(), f, map[string]any{"metadata": asRead(f), "status": status}, "status")
}

// asRead is the metadata by which a patch meets only the object that was read, as it
// was read.
func asRead(f *model.Front) map[string]any {
	return map[string]any{"uid": f.UID, "resourceVersion": f.ResourceVersion}
}

// patchFront patches f and takes over what the server answers.
func (c *Client) patchFront(ctx context.Context, op string, f *model.Front, patch map[string]any, subresource ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fault.New(fault.Permanent, op, err)
	}
	send := func(to rest.Interface, resource string, into runtime.Object) error {
		return classify(op, to.Patch(mergePatch).Namespace(f.Namespace).Resource(resource).Name(f.Name).SubResource(subresource...).Body(body).Do(ctx).Into(into))
	}
	if f.Kind != model.KindIngress {
		var out corev1.Service
		if err := send(c.core, "services", &out); err != nil {
			return err
		}
		*f = ServiceFrom(&out).Front
		return nil
	}
	client, version, err := c.ingresses(ctx)
	if err != nil {
		return err
	}
	if version == nil {
		return fault.New(fault.NotFound, op, errNoIngresses)
	}
	out := version.one()
	if err := send(client, "ingresses", out); err != nil {
		return err
	}
	ing, err := IngressFrom(out)
	if err != nil {
		return err
	}
	*f = ing.Front
	return nil
}

// Note is a Kubernetes Event to be written.
type Note struct {
	// Kind, Ref, UID name the object it is about ("Service", "Ingress" or "Pod").
	Kind    string
	Ref     model.Ref
	UID     string
	Warning bool
	Reason  string
	Message string
}

// OpenedByPolicy is the note of a gate that was opened without the load balancer's word.
func OpenedByPolicy(p *model.Pod, message string) Note {
	return Note{Kind: "Pod", Ref: p.Ref(), UID: p.UID, Warning: true, Reason: "ReadinessGateOpenedByPolicy",
		Message: "the pod counts as ready although no load balancer is known to have found it healthy: " + message}
}

// Component is what our Events say they are from.
const Component = "clb-direct"

// repeatEvery is how often a note that goes on is counted again: often enough to
// show that it does, seldom enough to cost nothing.
const repeatEvery = 5 * time.Minute

// maxNote bounds a message (Event.message is limited to 1,024 characters).
const maxNote = 1024

// Record writes a note as an Event. Its name is made from what it says, so that
// many functions saying the same make one Event with a count.
func (c *Client) Record(ctx context.Context, n Note, now time.Time) error {
	if len(n.Message) > maxNote {
		// A cut through a character would not be a string any more.
		n.Message = strings.ToValidUTF8(n.Message[:maxNote-3], "") + "..."
	}
	h := fnv.New64a()
	fmt.Fprint(h, n.UID, "\x00", n.Reason, "\x00", n.Message)
	name := fmt.Sprintf("%s.%016x", strings.TrimRight(n.Ref.Name[:min(len(n.Ref.Name), 200)], "-."), h.Sum64())
	kind := corev1.EventTypeNormal
	if n.Warning {
		kind = corev1.EventTypeWarning
	}
	at := metav1.NewTime(now)
	op := "recording an Event on " + n.Kind + " " + n.Ref.String()
	ev := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: n.Ref.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{APIVersion: c.apiVersion(n.Kind), Kind: n.Kind, Namespace: n.Ref.Namespace, Name: n.Ref.Name, UID: uid(n.UID)},
		Type:           kind, Reason: n.Reason, Message: n.Message,
		Source:         corev1.EventSource{Component: Component},
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}
	err := c.core.Post().Namespace(n.Ref.Namespace).Resource("events").Body(ev).Do(ctx).Error()
	if !isAlreadyExists(err) {
		return classify(op, err)
	}
	var have corev1.Event
	if err := c.core.Get().Namespace(n.Ref.Namespace).Resource("events").Name(name).Do(ctx).Into(&have); err != nil {
		return classify(op, err)
	}
	if now.Sub(have.LastTimestamp.Time) < repeatEvery {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"count": have.Count + 1, "lastTimestamp": at})
	if err != nil {
		return fault.New(fault.Permanent, op, err)
	}
	return classify(op, c.core.Patch(mergePatch).Namespace(n.Ref.Namespace).Resource("events").Name(name).Body(patch).Do(ctx).Error())
}
