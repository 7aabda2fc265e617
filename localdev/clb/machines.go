package clb

import (
	"maps"
	"net/netip"
	"sync"
)

// machines are the account's virtual machines (CVM) with their addresses, by id: what
// targets can be named by instead of by address.
type machines struct {
	mu   sync.Mutex
	byID map[string]netip.Addr
}

// AddInstance tells of a virtual machine that targets may name.
func (s *Server) AddInstance(id string, addr netip.Addr) {
	s.machines.mu.Lock()
	defer s.machines.mu.Unlock()
	all := maps.Clone(s.machines.byID)
	if all == nil {
		all = map[string]netip.Addr{}
	}
	all[id] = addr
	s.machines.byID = all
}

// instances is not to be changed.
func (s *Server) instances() map[string]netip.Addr {
	s.machines.mu.Lock()
	defer s.machines.mu.Unlock()
	return s.machines.byID
}
