package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

const (
	// blockBits is the length of a node's own prefix.
	blockBits = 18
	// kubeletPort is bound on a node's address for as long as the node lives. It
	// is how two fleets on one machine, say two test processes, keep off each
	// other's addresses.
	kubeletPort = 10250
)

// errNoAddress says that a node's block is used up.
var errNoAddress = errors.New("no address left")

// block is the address range of one node: the first address is the node's own,
// the others are for pods.
type block struct {
	prefix netip.Prefix
	own    netip.Addr
	claim  net.Listener
	reuse  bool

	mu    sync.Mutex
	next  netip.Addr
	freed []netip.Addr
}

// claimBlocks takes n free blocks out of a range.
func claimBlocks(from netip.Prefix, n int, reuse bool) (_ []*block, err error) {
	if !from.Addr().Is4() || from.Bits() > blockBits {
		return nil, fmt.Errorf("splitting %s: want an IPv4 range of at least a /%d", from, blockBits)
	}
	var blocks []*block
	defer func() {
		if err != nil {
			for _, b := range blocks {
				b.release()
			}
		}
	}()
	for prefix := netip.PrefixFrom(from.Masked().Addr(), blockBits); from.Contains(prefix.Addr()) && len(blocks) < n; prefix = following(prefix) {
		b := &block{prefix: prefix, own: prefix.Addr().Next(), reuse: reuse}
		b.next = b.own.Next()
		if err = b.reclaim(); err != nil {
			continue // another fleet's
		}
		blocks = append(blocks, b)
	}
	if len(blocks) < n {
		return nil, fmt.Errorf("splitting %s: %d nodes wanted, %d blocks free (the last: %w)", from, n, len(blocks), err)
	}
	return blocks, nil
}

// following returns the block after another.
func following(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n += 1 << (32 - p.Bits())
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), p.Bits())
}

// take returns a free address. One that was never used comes first, unless
// reuse is asked for: a stale binding to a reused address is a fault of its own
// that should happen only where it is wanted.
func (b *block) take() (netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.freed); n > 0 && b.reuse {
		addr := b.freed[n-1]
		b.freed = b.freed[:n-1]
		return addr, nil
	}
	// The last address of the range is left out, as a broadcast address would be.
	if b.prefix.Contains(b.next.Next()) {
		addr := b.next
		b.next = addr.Next()
		return addr, nil
	}
	if len(b.freed) > 0 {
		addr := b.freed[0]
		b.freed = b.freed[1:]
		return addr, nil
	}
	return netip.Addr{}, errNoAddress
}

// give returns an address to the block.
func (b *block) give(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freed = append(b.freed, addr)
}

// reclaim listens on the block's kubelet port.
func (b *block) reclaim() (err error) {
	b.claim, err = net.Listen("tcp4", net.JoinHostPort(b.own.String(), strconv.Itoa(kubeletPort)))
	return err
}

func (b *block) release() {
	if b.claim != nil {
		b.claim.Close()
	}
}
