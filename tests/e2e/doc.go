// Package e2e holds the end-to-end suite: the real control plane, the forwarder and
// the packaged functions as processes of their own, the emulators of CLB and SCF and
// emulated nodes, all on loopback. Each test names in its comment the promise that it
// holds the project to.
//
// One stack serves all tests; each has a namespace of its own. Tests that need the
// stack for themselves, to stop the forwarder or a function, are not parallel and so
// run before all others. `go test -short` leaves the suite out.
package e2e
