package kube

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

// Warning is an Event of that type as somebody wrote it.
type Warning struct {
	Reason, Message string
	// By is the component that wrote it: "kubelet", or Component.
	By string
	// Last is when it was last said.
	Last time.Time
}

// Warnings lists the warnings on the object with a UID, newest first.
func (c *Client) Warnings(ctx context.Context, namespace, uid string) ([]Warning, error) {
	opts := listOptions("")
	opts.FieldSelector = fields.Set{"involvedObject.uid": uid, "type": corev1.EventTypeWarning}.String()
	query := listing{from: c.core, namespace: namespace, resource: "events", page: func() runtime.Object { return &corev1.EventList{} }}
	var out []Warning
	err := c.list(ctx, query, opts, func(o runtime.Object) error {
		e, ok := o.(*corev1.Event)
		if !ok {
			return unexpected(query, o)
		}
		out = append(out, warningFrom(e))
		return nil
	})
	slices.SortStableFunc(out, func(a, b Warning) int { return b.Last.Compare(a.Last) })
	return out, err
}

// warningFrom reads an Event in either of its two styles.
func warningFrom(e *corev1.Event) Warning {
	w := Warning{Reason: e.Reason, Message: e.Message, By: e.Source.Component, Last: e.LastTimestamp.Time}
	if w.By == "" {
		w.By = e.ReportingController
	}
	if w.Last.IsZero() {
		w.Last = e.EventTime.Time
	}
	if e.Series != nil && e.Series.LastObservedTime.After(w.Last) {
		w.Last = e.Series.LastObservedTime.Time
	}
	return w
}
