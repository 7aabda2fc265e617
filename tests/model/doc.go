// Package model walks the production code through random interleavings: the passes with
// their real clients, the planner, readiness, and the forwarder's index, queue, relay and
// drain gate run in a small world of a Kubernetes API, a CLB, nodes and time, whose every
// next step a scheduler picks. A pass stops at each of its calls to the outside; the call
// may be answered, answered late, lost, refused, or be the last that the pass makes.
//
// The world knows the truth: who answers at an address, whom the CLB's checks have met,
// what its data plane sends where. After each step that is held against the laws
// (law_test.go). In the end all faults stop, and everything must become as it should be.
//
// Time is testing/synctest's: all of production's timers run on it.
package model
