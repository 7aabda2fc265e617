// Package application is what the application in a pod says and how it is spoken to, on
// an emulated node and in a container on a real one alike: HTTP, and lines over plain TCP
// on the same port, told apart by a connection's first bytes; datagrams over UDP.
package application

// The states an application is in, as it sees itself.
const (
	StateStarting    = "starting"
	StateReady       = "ready"
	StateTerminating = "terminating"
)

// Answer is what the application says: as the JSON body of an HTTP response to
// any method and path, as a line for each line over plain TCP on the same port,
// as a datagram for each datagram.
type Answer struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	UID       string `json:"uid"`
	Node      string `json:"node"`
	// Client is the peer's address and port as the application's socket has it.
	Client string `json:"client"`
	// Port is the port that was asked.
	Port int32 `json:"port"`
	// State is one of StateStarting, StateReady and StateTerminating.
	State string `json:"state"`
	// Ready is what the readiness probe would have found at that moment.
	Ready       bool   `json:"ready"`
	ContainerID string `json:"container_id"`
}
