package dataplane

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate has the kernel choose the source port at connect, by the whole four-tuple,
// rather than at bind: one client address can then have more connections than there are
// ports.
func bindLate(_, _ string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}
