package backend

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
)

// addresses hands out virtual addresses. Several emulators may run on one machine (the
// packages of a test run, for one): each address in use is reserved by a socket name
// that the kernel frees when its process ends, however it ends.
// It has a lock of its own: addresses are freed from the data plane's side too.
type addresses struct {
	mu       sync.Mutex
	next     map[netip.Prefix]netip.Addr
	reserved map[netip.Addr]io.Closer
}

func newAddresses() *addresses {
	return &addresses{next: map[netip.Prefix]netip.Addr{}, reserved: map[netip.Addr]io.Closer{}}
}

// take reserves the next free address of prefix. Addresses go round, so that a freed
// one isn't given to another load balancer while clients may still remember it.
func (a *addresses) take(prefix netip.Prefix) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	prefix = prefix.Masked()
	ip, found := a.next[prefix]
	if !found {
		ip = prefix.Addr()
	}
	for range 1 << min(16, ip.BitLen()-prefix.Bits()) {
		ip = ip.Next()
		if !prefix.Contains(ip) {
			ip = prefix.Addr().Next()
		}
		if a.hold(ip) == nil {
			a.next[prefix] = ip
			return ip, nil
		}
	}
	return netip.Addr{}, failure("ResourceInsufficient", "no free address in %s.", prefix)
}

// reserve takes one address.
func (a *addresses) reserve(ip netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hold(ip)
}

func (a *addresses) hold(ip netip.Addr) error {
	if a.reserved[ip] != nil {
		return fmt.Errorf("%s is taken", ip)
	}
	var held io.Closer = io.NopCloser(nil)
	if runtime.GOOS == "linux" {
		var err error
		if held, err = net.ListenPacket("unixgram", "@clb-direct/vip/"+ip.String()); err != nil {
			return err
		}
	}
	a.reserved[ip] = held
	return nil
}

func (a *addresses) release(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held := a.reserved[ip]; held != nil {
		_ = held.Close()
		delete(a.reserved, ip)
	}
}

func (a *addresses) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ip, held := range a.reserved {
		_ = held.Close()
		delete(a.reserved, ip)
	}
}
