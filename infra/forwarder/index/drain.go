package index

import (
	"slices"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/model"
)

// PodByToken finds the pod of a namespace whose drain hooks carry the token.
func (x *Index) PodByToken(namespace, token string) (model.Pod, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pods[namespace] {
		if token != "" && p.Annotations[model.DrainToken] == token {
			return *p, true
		}
	}
	return model.Pod{}, false
}

// Pod gives a pod as it was last seen, unless another one has its name by now.
func (x *Index) Pod(namespace, name, uid string) (model.Pod, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pods[namespace][name]
	if p == nil || p.UID != uid {
		return model.Pod{}, false
	}
	return *p, true
}

// Drain are the marks by which the CLBs that serve p stop sending to it, as its
// container is about to end: none if nothing of ours serves it.
func (x *Index) Drain(p *model.Pod, container, id string) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.IP == "" {
		return nil
	}
	at := podAt(p, p.IP)
	at.Draining = container + "=" + id
	look := work.Of(at)
	look.Urgent, look.Version = true, p.ResourceVersion
	m := marks{}
	for _, f := range x.selected(p) {
		if f.balancer != "" {
			m.add(backendsKey(f.balancer), look)
		}
	}
	return m.list()
}

// Follow gives a channel that has something whenever the pod with the uid has changed
// since it was last read, until done is called.
func (x *Index) Follow(uid string) (changed <-chan struct{}, done func()) {
	c := make(chan struct{}, 1)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.followers[uid] = append(x.followers[uid], c)
	return c, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		left := slices.DeleteFunc(x.followers[uid], func(o chan struct{}) bool { return o == c })
		if x.followers[uid] = left; len(left) == 0 {
			delete(x.followers, uid)
		}
	}
}

func (x *Index) stir(uid string) {
	for _, c := range x.followers[uid] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
