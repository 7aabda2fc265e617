package node

import (
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// Defaults of Options.
const (
	DefaultNamePrefix     = "node-"
	DefaultPodCapacity    = 1000
	DefaultENICapacity    = 1000
	DefaultSandboxDelay   = 100 * time.Millisecond
	DefaultStartDelay     = 200 * time.Millisecond
	DefaultBackoffInitial = 10 * time.Second
	DefaultBackoffMax     = 5 * time.Minute
	DefaultNetwork        = "tke-bridge"
)

// DefaultAddresses is the range that nodes and pods have their addresses from.
// All of 127.0.0.0/8 can be bound on Linux without set-up.
var DefaultAddresses = netip.MustParsePrefix("127.64.0.0/12")

// Options say what Start emulates. Only Config is required.
type Options struct {
	// Config reaches the API server with the rights of a cluster administrator.
	Config *rest.Config
	// Nodes is how many nodes there are. Default: 1.
	Nodes int
	// NamePrefix precedes the node's number in its name. Default: DefaultNamePrefix.
	NamePrefix string
	// Addresses is the range split between nodes, a /18 each (16,382 pods): the
	// first such blocks that no other fleet on this machine holds. Default:
	// DefaultAddresses.
	Addresses netip.Prefix
	// ReuseAddresses gives the address freed last to the next pod, at once, as a
	// busy subnet would. Without it an address comes back only when the node has
	// none left that was never used.
	ReuseAddresses bool

	// PodCapacity is the number of pods a node takes. Default: DefaultPodCapacity.
	PodCapacity int64
	// ENICapacity is the node's tke.cloud.tencent.com/eni-ip and direct-eni.
	// Default: DefaultENICapacity. Negative: the node has none.
	ENICapacity int64
	// Labels are set on every node besides the usual ones.
	Labels map[string]string
	// Unschedulable keeps pods away that don't name the node: it is cordoned.
	Unschedulable bool
	// KeepNodes leaves the Node objects behind at Close.
	KeepNodes bool

	// SandboxDelay passes between a pod's arrival and its address. Default:
	// DefaultSandboxDelay. Negative: none.
	SandboxDelay time.Duration
	// StartDelay passes between a pod's address and the start of its containers,
	// where the start-delay annotation doesn't say otherwise. Default:
	// DefaultStartDelay. Negative: none.
	StartDelay time.Duration
	// BackoffInitial and BackoffMax bound the delay before a container that
	// crashed is started again. Defaults: the kubelet's ten seconds and five
	// minutes.
	BackoffInitial, BackoffMax time.Duration
	// Network names the network of pods that ask for none, as
	// tke.cloud.tencent.com/networks-status has it: tke-bridge where VPC-CNI was
	// added to a GlobalRouter cluster, tke-route-eni where it is the cluster's
	// own. Default: DefaultNetwork.
	Network string
	// ImagePorts are the TCP ports that a container of an image listens on
	// besides those it declares, by the image's name without registry and tag.
	// Default: nginx on 80.
	ImagePorts map[string][]int32
	// Programs run in containers of an image, by its name without registry and tag, in
	// place of the application: real processes. Default: none.
	Programs map[string]Program
	// Events makes the nodes write Events (Started, Unhealthy, Killing and so on)
	// on pods. Warnings are written in any case. Default: no.
	Events bool
	// Log gets what a kubelet would log. Default: nowhere.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Nodes, 1)
	setDefault(&o.NamePrefix, DefaultNamePrefix)
	setDefault(&o.Addresses, DefaultAddresses)
	setDefault(&o.PodCapacity, DefaultPodCapacity)
	setDefault(&o.ENICapacity, DefaultENICapacity)
	setDefault(&o.SandboxDelay, DefaultSandboxDelay)
	setDefault(&o.StartDelay, DefaultStartDelay)
	setDefault(&o.BackoffInitial, DefaultBackoffInitial)
	setDefault(&o.BackoffMax, DefaultBackoffMax)
	setDefault(&o.Network, DefaultNetwork)
	if o.ImagePorts == nil {
		o.ImagePorts = map[string][]int32{"nginx": {80}}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Extended resources by which a pod asks for an elastic network interface's
// address of its own, and the annotations of TKE's CNI about it (TKE
// documentation, "Using CLB to connect directly to pods"; multus-cni's
// k8sclient for the status).
const (
	ResourceENIIP     corev1.ResourceName = "tke.cloud.tencent.com/eni-ip"
	ResourceDirectENI corev1.ResourceName = "tke.cloud.tencent.com/direct-eni"

	AnnotationNetworks       = "tke.cloud.tencent.com/networks"
	AnnotationNetworksStatus = "tke.cloud.tencent.com/networks-status"

	networkRouteENI  = "tke-route-eni"
	networkDirectENI = "tke-direct-eni"
)
