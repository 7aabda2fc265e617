package kube

import (
	"context"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Memory is what a function must not forget between events: a ConfigMap's data.
type Memory struct {
	Ref  model.Ref
	Data map[string]string

	version string
	read    map[string]string
}

// Remember reads a memory; one that isn't there yet is empty.
func (c *Client) Remember(ctx context.Context, ref model.Ref) (*Memory, error) {
	var have corev1.ConfigMap
	err := classify("reading ConfigMap "+ref.String(), c.core.Get().Namespace(ref.Namespace).Resource("configmaps").Name(ref.Name).Do(ctx).Into(&have))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	m := &Memory{Ref: ref, Data: map[string]string{}, version: have.ResourceVersion, read: have.Data}
	maps.Copy(m.Data, have.Data)
	return m, nil
}

// Keep writes a memory back if it has changed. That another wrote it meanwhile is a
// Conflict.
func (c *Client) Keep(ctx context.Context, m *Memory) error {
	if maps.Equal(m.Data, m.read) {
		return nil
	}
	op := "writing ConfigMap " + m.Ref.String()
	if m.version == "" {
		made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.Ref.Namespace, Name: m.Ref.Name}, Data: m.Data}
		return classify(op, c.core.Post().Namespace(m.Ref.Namespace).Resource("configmaps").Body(made).Do(ctx).Error())
	}
	data := map[string]any{}
	for k := range m.read {
		data[k] = nil // a merge patch takes away what is null
	}
	for k, v := range m.Data {
		data[k] = v
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": m.version}, "data": data})
	if err != nil {
		return fault.New(fault.Permanent, op, err)
	}
	return classify(op, c.core.Patch(mergePatch).Namespace(m.Ref.Namespace).Resource("configmaps").Name(m.Ref.Name).Body(body).Do(ctx).Error())
}

// PutEntries sets entries of a ConfigMap, and takes those away whose value is "". With
// only, all others go too. Entries that several write at a time don't disturb each other.
// It tells how many were changed.
func (c *Client) PutEntries(ctx context.Context, ref model.Ref, entries map[string]string, only bool) (int, error) {
	m, err := c.Remember(ctx, ref)
	if err != nil {
		return 0, err
	}
	data := map[string]any{}
	for k, v := range entries {
		had, there := m.read[k]
		switch {
		case v == "" && there:
			data[k] = nil
		case v != "" && v != had:
			data[k] = v
		}
	}
	for k := range m.read {
		if _, named := entries[k]; only && !named {
			data[k] = nil
		}
	}
	if len(data) == 0 {
		return 0, nil
	}
	op := "writing ConfigMap " + ref.String()
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return 0, fault.New(fault.Permanent, op, err)
	}
	if m.version == "" {
		made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
		err := classify(op, c.core.Post().Namespace(ref.Namespace).Resource("configmaps").Body(made).Do(ctx).Error())
		if err != nil && !fault.Is(err, fault.Conflict) { // another pass was first
			return 0, err
		}
	}
	return len(data), classify(op, c.core.Patch(mergePatch).Namespace(ref.Namespace).Resource("configmaps").Name(ref.Name).Body(body).Do(ctx).Error())
}
