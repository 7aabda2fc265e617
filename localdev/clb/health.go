package clb

import "net/netip"

// FreezeHealth keeps every target's health as it is while on: checks go on, and nobody
// hears what they find.
func (s *Server) FreezeHealth(on bool) { s.backend.FreezeHealth(on) }

// HideHealth has DescribeTargetHealth leave addresses out, as though they weren't bound,
// until it is called again; none ends it.
func (s *Server) HideHealth(ips ...netip.Addr) {
	set := make(map[netip.Addr]bool, len(ips))
	for _, ip := range ips {
		set[ip] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = set
}

// hides tells whether an address is left out.
func (s *Server) hides(ip netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hidden[ip]
}
