package clb

import (
	"net/netip"
	"time"
)

// LoadBalancer is an instance as a test or a demo sees it, without the API.
type LoadBalancer struct {
	ID, Name, Type string
	// VIP is invalid while the instance is being created.
	VIP       netip.Addr
	Tags      map[string]string
	Listeners []Listener
}

// Listener is a listener with its targets.
type Listener struct {
	ID, Name, Protocol string
	Port               int
	Targets            []Target
}

// Target is one binding.
type Target struct {
	IP     netip.Addr
	Port   int
	Weight int
	Tag    string
	// Health is Alive, Dead, Unknown or Close.
	Health     string
	Registered time.Time
}

// LoadBalancers is what there is now, oldest first: no latency, no limit, no log entry.
func (s *Server) LoadBalancers() []LoadBalancer {
	var all []LoadBalancer
	for _, info := range s.backend.LoadBalancers() {
		lb := LoadBalancer{ID: info.ID, Name: info.Name, Type: info.Type, VIP: info.VIP, Tags: map[string]string{}}
		for _, tag := range info.Tags {
			lb.Tags[tag.Key] = tag.Value
		}
		// One deleted since it was listed has no listeners.
		listeners, _ := s.backend.Listeners(info.ID, true, nil)
		for _, l := range listeners {
			out := Listener{ID: l.ID, Name: l.Settings.Name, Protocol: l.Protocol, Port: l.Port}
			for _, p := range l.Places {
				for _, t := range p.Targets {
					out.Targets = append(out.Targets, Target{
						IP: t.Addr.Addr(), Port: int(t.Addr.Port()), Weight: t.Weight, Tag: t.Tag,
						Health: t.Health.String(), Registered: t.Registered,
					})
				}
			}
			lb.Listeners = append(lb.Listeners, out)
		}
		all = append(all, lb)
	}
	return all
}
