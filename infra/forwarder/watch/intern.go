package watch

import (
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/clb-direct/clb-direct/shared/model"
)

// interner has pods share what they have in common: names of namespaces, nodes and
// containers, and whole sets of labels, which the pods of a ReplicaSet have alike. It is
// for one goroutine.
type interner struct {
	// sets are the label sets of late, older those of before: what is in neither was not
	// met for long.
	sets, older map[string]map[string]string
}

// maxSets bounds the label sets remembered.
const maxSets = 1024

func newInterner() *interner { return &interner{sets: map[string]map[string]string{}} }

func intern(s string) string { return unique.Make(s).Value() }

// pod gives the same pod.
func (in *interner) pod(p model.Pod) model.Pod {
	p.Namespace, p.NodeName, p.Phase = intern(p.Namespace), intern(p.NodeName), intern(p.Phase)
	p.Labels = in.set(p.Labels)
	p.Annotations = in.annotations(p.Annotations)
	for i := range p.Ports {
		p.Ports[i].Name, p.Ports[i].Protocol = intern(p.Ports[i].Name), model.Protocol(intern(string(p.Ports[i].Protocol)))
	}
	for i := range p.Unhooked {
		p.Unhooked[i] = intern(p.Unhooked[i])
	}
	p.Ports, p.Unhooked = slices.Clip(slices.Clone(p.Ports)), slices.Clip(slices.Clone(p.Unhooked))
	for _, c := range []*model.Condition{p.Gate, p.Drained} {
		if c != nil {
			c.Reason, c.Message = intern(c.Reason), intern(c.Message)
		}
	}
	return p
}

func (in *interner) annotations(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[intern(k)] = v
	}
	return out
}

// set gives an equal set of labels, the same one for equal sets. Nobody may change it.
func (in *interner) set(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return labels
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(k)
		b.WriteByte(0)
		b.WriteString(labels[k])
		b.WriteByte(0)
	}
	key := b.String()
	if had, ok := in.sets[key]; ok {
		return had
	}
	out, ok := in.older[key]
	if !ok {
		out = make(map[string]string, len(labels))
		for k, v := range labels {
			out[intern(k)] = intern(v)
		}
	}
	if len(in.sets) >= maxSets {
		in.older, in.sets = in.sets, map[string]map[string]string{}
	}
	in.sets[key] = out
	return out
}
