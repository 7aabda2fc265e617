// Package machine is the machine that a node with a real kubelet lives on: a part of this
// one, with mounts and processes of its own, so that it ends as a whole.
//
// Keep is its outside. It makes the addresses (a bridge for pods, a dummy interface for
// clients and virtual addresses), a cgroup, and a process in namespaces of its own; it
// waits until its standard input closes, which it does when whoever started it ends in
// whatever way, and takes away all that it made.
//
// Inside is the first process within: it hides this machine's /run and /var behind memory,
// starts containerd and the kubelet, and stands in for the one thing of systemd that the
// kubelet wants: logind, which says when the machine shuts down. When Keep kills it the
// kernel kills everything else there, containers too, and forgets their mounts.
package machine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Spec is all that a machine is made of.
type Spec struct {
	// Dir is a folder on this machine for logs and configuration; it must not be below /run.
	Dir string `json:"dir"`
	// Bridge and Dummy name the interfaces, Cgroup the node's cgroup.
	Bridge string `json:"bridge"`
	Dummy  string `json:"dummy"`
	Cgroup string `json:"cgroup"`
	// Pods is the range of pods' addresses, whose first is the bridge's; Clients that of
	// clients and virtual addresses, whose first is the node's.
	Pods    string `json:"pods"`
	Clients string `json:"clients"`
	// Containerd, Ctr and DBus are the programs, ContainerdConfig and DBusConfig their files.
	Containerd       string `json:"containerd"`
	ContainerdConfig string `json:"containerdConfig"`
	DBus             string `json:"dbus"`
	DBusConfig       string `json:"dbusConfig"`
	// WaitSeconds is how long to wait for another node on this machine to end.
	WaitSeconds int `json:"waitSeconds"`
	// Kubelet is the kubelet's command line.
	Kubelet []string `json:"kubelet"`
}

// The paths inside, where nothing is this machine's.
const (
	ContainerdRoot   = "/var/lib/containerd"
	ContainerdState  = "/run/containerd"
	ContainerdSocket = "/run/containerd/containerd.sock"
	KubeletRoot      = "/var/lib/kubelet"
	LeasesDir        = "/run/cni/leases"
	BusSocket        = "/run/dbus/system_bus_socket"
)

// The words of the conversation: one command or report a line.
const (
	// ReportUp says that containerd and the kubelet run.
	ReportUp = "up"
	// ReportWaiting says that another node runs, whose end is awaited.
	ReportWaiting = "waiting"
	// ReportFailed precedes a reason.
	ReportFailed = "failed: "
	// CommandShutdown has logind announce that the machine shuts down, CommandResume that
	// it doesn't after all.
	CommandShutdown = "shutdown"
	CommandResume   = "resume"
)

// LockAddress is held by the one keeper that a machine has room for: interfaces and cgroups
// have fixed names.
const LockAddress = "@clb-direct-localdev-kubelet"

// Alias marks the interfaces that are ours, so that what a killed keeper left is known.
const Alias = "clb-direct localdev kubelet"

// ReadSpec reads a spec from a file.
func ReadSpec(path string) (Spec, error) {
	var s Spec
	raw, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("reading the machine's spec: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("reading the machine's spec: %w", err)
	}
	return s, nil
}

func report(w io.Writer, err error) {
	if err != nil {
		// On one line, whatever it says.
		fmt.Fprintf(w, "%s%q\n", ReportFailed, err.Error())
		return
	}
	fmt.Fprintln(w, ReportUp)
}
