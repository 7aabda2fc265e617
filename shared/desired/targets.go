package desired

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// CustomWeight is TKE's annotation for a pod's own weight (457/128647).
const CustomWeight = "service.cloud.tencent.com/custom-weight"

// defaultNetwork names the network that gave p its address, "" if nothing says.
// What the CNI reported beats what was asked for.
func defaultNetwork(p *model.Pod) string {
	if raw := p.Annotations["tke.cloud.tencent.com/networks-status"]; raw != "" {
		var status []struct {
			Name    string `json:"name"`
			Default bool   `json:"default"`
		}
		if json.Unmarshal([]byte(raw), &status) == nil {
			for _, s := range status {
				if s.Default || len(status) == 1 {
					return s.Name
				}
			}
		}
	}
	// A comma list names the default network first, further ones as name@interface.
	first, _, _ := strings.Cut(p.Annotations["tke.cloud.tencent.com/networks"], ",")
	name, _, _ := strings.Cut(strings.TrimSpace(first), "@")
	return name
}

// Weight is the weight that p should have once it serves, behind objects of the kind.
func Weight(p *model.Pod, kind model.Kind) (int, *Problem) {
	key := KeysOf(kind).CustomWeight
	raw, ok := p.Annotations[key]
	if !ok {
		return model.DefaultWeight, nil
	}
	w, err := strconv.Atoi(strings.TrimSpace(raw))
	if err != nil || w < 0 || w > model.MaxWeight {
		return model.DefaultWeight, &Problem{Field: key, Message: fmt.Sprintf("is %q, must be a whole number from 0 to %d; using %d", raw, model.MaxWeight, model.DefaultWeight)}
	}
	return w, nil
}

// Owners tells which pod owns each address. An ended pod owns none: its address
// may be in use again. Of two that claim one, the one without deletionTimestamp
// does, then the newer.
func Owners(pods []*model.Pod) map[string]*model.Pod {
	owners := map[string]*model.Pod{}
	for _, p := range pods {
		if p.IP == "" || p.Terminal() || p.AllTerminated {
			continue
		}
		if q, taken := owners[p.IP]; !taken || outranks(p, q) {
			owners[p.IP] = p
		}
	}
	return owners
}

func outranks(p, q *model.Pod) bool {
	if p.Deleting != q.Deleting {
		return !p.Deleting
	}
	return cmp.Or(p.Created.Compare(q.Created), cmp.Compare(p.UID, q.UID)) > 0
}

// Targets are the targets that a place wants for the given pods, one per pod that
// the backing's Service selects, that owns its IP, can be reached directly and has the port:
//
//	pod                                              registered          weight
//	has an IP, not terminal, not yet ContainersReady yes (early bind)    0
//	ContainersReady                                  yes                 custom weight, else 10
//	deletionTimestamp set, or a drain mark in force  if it already is    0
//	all containers terminated, Failed, Succeeded     no                  -
//
// Weight never waits for health: the CLB sends traffic only to targets that are
// healthy and of weight > 0. Readiness waits for both.
func Targets(place model.Place, b Backing, owners map[string]*model.Pod, policy Policy) []model.Wanted {
	var out []model.Wanted
	for ip, p := range owners {
		if b.Service == nil || !b.Service.Selects(p.Namespace, p.Labels) {
			continue
		}
		if ok, _ := Direct(p, policy); !ok {
			continue
		}
		port, ok := b.Port.Resolve(p)
		if !ok {
			continue
		}
		out = append(out, model.Wanted{
			Target: model.Target{
				Place:   place,
				Address: model.Address{IP: ip, Port: port},
				Weight:  DesiredWeight(p, b.Front.Kind),
				Tag:     p.UID,
			},
			Bind:    !p.Deleting && !p.Draining,
			Pod:     p.Ref(),
			Started: p.Started,
		})
	}
	slices.SortFunc(out, func(a, b model.Wanted) int { return a.Key().Compare(b.Key()) })
	return out
}

// DesiredWeight is the weight column of the table over Targets.
func DesiredWeight(p *model.Pod, kind model.Kind) int {
	if p.Deleting || p.Draining || !p.ContainersReady {
		return 0
	}
	w, _ := Weight(p, kind)
	return w
}
