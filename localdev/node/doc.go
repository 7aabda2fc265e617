// Package node runs emulated Kubernetes nodes against a real API server: it
// registers Node objects and takes the pods bound to them through the life that
// a kubelet would give them, with real listeners on loopback addresses in place
// of containers.
//
// What follows the kubelet (pkg/kubelet of k8s.io/kubernetes v1.37):
//
//   - The sandbox gets its address before any container starts; containers start
//     after a delay; conditions PodReadyToStartContainers, Initialized,
//     ContainersReady, Ready and PodScheduled carry the kubelet's reasons and
//     messages; Ready waits for every readiness gate and reacts to its condition
//     at once.
//   - Status is written by strategic merge patch with the pod's UID as
//     precondition, and only conditions that the kubelet owns are ever in it.
//   - Startup, readiness and liveness probes (HTTP, TCP) come from the node's
//     address with the kubelet's ticks and thresholds. A failed liveness or
//     startup probe runs the preStop hook, stops the container and starts it
//     again under a new ID and the same address; crashes back off.
//   - Deletion: preStop hook, bounded by the grace period; SIGTERM; what is left
//     of the grace period, at least two seconds; SIGKILL. Readiness probes go on
//     until the containers have ended. Then the final status is written and the
//     object deleted, with the UID as precondition.
//   - A shorter grace period in a second deletion takes effect at once.
//   - After a restart of the fleet a node behaves as one that was rebooted: new
//     sandboxes, new addresses, restart counts raised.
//
// What differs, on purpose: a pod whose object is gone is killed at once (a
// kubelet would still grant it its grace period); regular init containers
// succeed as soon as they start; exec and gRPC probes report the application's
// own state; exec hooks fail, but for a plain sleep; applications speak no TLS;
// there are no volumes, logs, exec or resource limits, and postStart hooks are
// not run. It needs Linux, and root (or net.ipv4.ip_unprivileged_port_start) for
// applications on ports below 1024.
//
// Containers of images that Options.Programs knows run a real program in a process.
//
// The application in a container is described at behaviour, for the annotations
// that steer it, and at Answer, for what it says.
package node
