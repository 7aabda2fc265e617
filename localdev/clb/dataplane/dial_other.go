//go:build !linux

package dataplane

import "syscall"

// bindLate needs Linux; elsewhere the source port is chosen at bind.
func bindLate(_, _ string, _ syscall.RawConn) error { return nil }
