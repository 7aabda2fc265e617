package index

import (
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Openable is a pod that waits for its gate and whose objects all have it open after a
// time, should nobody be left to decide.
type Openable struct {
	Pod model.Pod
	// Keys are the partitions of readiness that decide it.
	Keys []work.Key
	// After is the longest that one of the objects asks for, Live that one wants its gate to
	// follow health.
	After time.Duration
	Live  bool
}

// Openable lists them: pods whose containers are ready, and whose gate isn't open yet.
func (x *Index) Openable() []Openable {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []Openable
	for ns, used := range x.used {
		if !asksToOpen(used) {
			continue
		}
		for _, p := range x.pods[ns] {
			if !pending(p) || !p.ContainersReady || p.IP == "" || p.Gate != nil && p.Gate.Status {
				continue
			}
			if o, ok := x.openable(p); ok {
				out = append(out, o)
			}
		}
	}
	return out
}

func asksToOpen(used fronts) bool {
	for _, f := range used {
		if after, _ := desired.OpenAfter(f.Front); after > 0 {
			return true
		}
	}
	return false
}

func (x *Index) openable(p *model.Pod) (Openable, bool) {
	o := Openable{Pod: *p}
	for _, f := range x.claimedBy(p) {
		after, _ := desired.OpenAfter(f.Front)
		if after == 0 {
			return o, false
		}
		live, _ := desired.Live(f.Front)
		o.After, o.Live = max(o.After, after), o.Live || live
		o.Keys = append(o.Keys, bucketKey(x.buckets.take(f.occupant())))
	}
	return o, len(o.Keys) > 0
}
