// Package kubelet runs a node with the real kubelet: containerd, runc, CNI and real
// containers, all unmodified, on this machine and in a part of it that ends as a whole
// (package machine). It is for seeing that what is true on emulated nodes is true.
//
// Pods have addresses on a bridge of their own. Clients and virtual addresses come from a
// second range, on a dummy interface, so that pods see who asks. Both ranges, both
// interfaces and a cgroup are made and removed here; everything else is written to memory
// that only the node's own processes see. It needs Linux, root and Debian's Packages.
//
// The application in every container is ours (command container), whatever image is named.
package kubelet

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
	"github.com/clb-direct/clb-direct/localdev/node"
)

// Defaults of Options.
const (
	DefaultName   = "kubelet-1"
	DefaultBridge = "clbd-pods"
	DefaultDummy  = "clbd-clients"
	DefaultCgroup = "clb-direct-localdev"
	// DefaultImage is the application's name for those that care for none.
	DefaultImage = "localdev/application:1"
	// criticalGrace is what system pods have left when the machine shuts down.
	criticalGrace = 2 * time.Second
)

// DefaultPods and DefaultClients are the two ranges.
var (
	DefaultPods    = netip.MustParsePrefix("10.88.0.0/16")
	DefaultClients = netip.MustParsePrefix("10.89.0.0/24")
)

// Options say what Start starts. Only Cluster is required.
type Options struct {
	// Cluster is what the node joins: one that package cluster started.
	Cluster *cluster.Cluster
	// Root is the directory of the main module. Default: asked of the go command.
	Root string
	// StateDir keeps configuration and logs; "" is a temporary folder, removed by Close.
	StateDir string
	// Name is the node's. Default: DefaultName.
	Name string
	// Pods is the range of pods' addresses, Clients that of clients, virtual addresses
	// and the node itself. Defaults: DefaultPods and DefaultClients.
	Pods, Clients netip.Prefix
	// Bridge, Dummy and Cgroup name what is made on this machine. Defaults: as above.
	Bridge, Dummy, Cgroup string
	// PodCapacity is how many pods the node takes, 0 for 110.
	PodCapacity int
	// ShutdownGrace is what pods have when the machine shuts down. Default: 30 s.
	ShutdownGrace time.Duration
	// Wait is how long to wait where another such node runs on this machine, which has room
	// for one. Default: not at all.
	Wait time.Duration
	// Progress is told, for a person, what takes time. Default: nobody.
	Progress io.Writer
}

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, DefaultName)
	o.Bridge, o.Dummy, o.Cgroup = cmp.Or(o.Bridge, DefaultBridge), cmp.Or(o.Dummy, DefaultDummy), cmp.Or(o.Cgroup, DefaultCgroup)
	o.Pods, o.Clients = cmp.Or(o.Pods, DefaultPods), cmp.Or(o.Clients, DefaultClients)
	o.PodCapacity = cmp.Or(o.PodCapacity, 110)
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 30*time.Second)
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// VIPs are the parts of Clients for public and internal virtual addresses: the second and
// the third quarter. The last is for clients; the first has the node itself.
func VIPs(o Options) (public, internal netip.Prefix) { return o.quarter(1), o.quarter(2) }

// Client is the address of the nth client, counted from 1.
func Client(o Options, n int) netip.Addr { return plus(o.quarter(3).Addr(), n) }

// quarter is the nth part of Clients, counted from 0.
func (o Options) quarter(n int) netip.Prefix {
	clients := o.withDefaults().Clients.Masked()
	return netip.PrefixFrom(plus(clients.Addr(), n<<(30-clients.Bits())), clients.Bits()+2)
}

// plus is the nth address after another.
func plus(a netip.Addr, n int) netip.Addr {
	raw := a.As4()
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(raw[:])+uint32(n))))
}

// Node is a node that runs.
type Node struct {
	// Dir is where the node's logs are.
	Dir string
	// Name is the node's, Address its own.
	Name    string
	Address netip.Addr
	// Journal is what its containers told of themselves.
	Journal *Journal

	client   kubernetes.Interface
	registry *registry
	keeper   *keeper
	keepDir  bool
}

// Start starts the node and waits until it is ready to take pods. The caller must Close it;
// if the caller's process ends in whatever way, so does the node. Cancelling ctx aborts the
// start only.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	o = o.withDefaults()
	tools, err := findTools()
	if err != nil {
		return nil, err
	}
	n := &Node{Dir: o.StateDir, Name: o.Name, Address: machine.First(o.Clients), keepDir: o.StateDir != ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.Dir == "" {
		if n.Dir, err = os.MkdirTemp("", "clb-direct-kubelet-"); err != nil {
			return nil, fmt.Errorf("making the state folder: %w", err)
		}
	}
	if n.Dir, err = filepath.Abs(n.Dir); err != nil {
		return nil, fmt.Errorf("resolving the state folder: %w", err)
	}
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	if n.client, err = kubernetes.NewForConfig(o.Cluster.RESTConfig()); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	program, err := cluster.BuildKubelet(ctx, o.Progress, cluster.BuildOptions{Root: o.Root})
	if err != nil {
		return nil, fmt.Errorf("building the kubelet: %w", err)
	}
	keeper, container, err := build(ctx, o.Root, n.Dir)
	if err != nil {
		return nil, err
	}
	if n.registry, err = newRegistry(container); err != nil {
		return nil, err
	}
	kubeconfig, err := o.Cluster.ClientKubeconfig("system:node:"+o.Name, "system:nodes")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(n.Dir, kubeconfigFile), kubeconfig, 0o600); err != nil {
		return nil, fmt.Errorf("writing the kubelet's kubeconfig: %w", err)
	}
	spec, err := layOut(o, n.Dir, tools, program, n.registry.URL())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if n.keeper, err = startKeeper(ctx, keeper, spec, n.Dir, o.Progress); err != nil {
		return nil, err
	}
	// Its address exists only now.
	if n.Journal, err = openJournal(n.Address); err != nil {
		return nil, err
	}
	if err := n.awaitReady(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(o.Progress, "the node %s with the real kubelet is ready after %.1f s\n", o.Name, time.Since(began).Seconds())
	return n, nil
}

// JournalAddress is what a container's JOURNAL is set to for it to be heard.
func (n *Node) JournalAddress() string { return n.Journal.Address() }

// awaitReady waits until the node says Ready, takes off the taint that it was born with, as
// the node lifecycle controller would, which isn't run here, and gives it the network
// interfaces that pods of TKE ask for.
func (n *Node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	nodes := n.client.CoreV1().Nodes()
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if n.keeper.ended() {
			return false, n.keeper.end()
		}
		self, err := nodes.Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return false, nil // not there yet
		}
		for _, c := range self.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("awaiting the node %s, whose logs are in %s: %w", n.Name, n.Dir, err)
	}
	// Extended resources of a node are anybody's to advertise; the kubelet keeps them.
	resources := fmt.Sprintf(`{%q:"%d",%q:"%d"}`, node.ResourceENIIP, node.DefaultENICapacity, node.ResourceDirectENI, node.DefaultENICapacity)
	for sub, patch := range map[string]string{
		"":       `{"spec":{"taints":null}}`,
		"status": fmt.Sprintf(`{"status":{"capacity":%[1]s,"allocatable":%[1]s}}`, resources),
	} {
		var path []string
		if sub != "" {
			path = []string{sub}
		}
		if _, err := nodes.Patch(ctx, n.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, path...); err != nil {
			return fmt.Errorf("letting pods onto the node: %w", err)
		}
	}
	return nil
}

// Shutdown has the node believe that the machine shuts down: its logind announces it, and
// the kubelet ends the pods (node graceful shutdown). Resume takes it back.
func (n *Node) Shutdown() error { return n.keeper.order(machine.CommandShutdown) }

// Resume takes a Shutdown back: the node takes pods again.
func (n *Node) Resume() error { return n.keeper.order(machine.CommandResume) }

// Close ends the node, and with it all its containers at once, and removes what was made
// on this machine. The Node object goes too.
func (n *Node) Close() error {
	var errs []error
	if n.Journal != nil {
		errs = append(errs, n.Journal.close())
	}
	if n.keeper != nil {
		errs = append(errs, n.keeper.stop())
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// If the API server is gone, so is the object.
		_ = n.client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{})
	}
	if n.registry != nil {
		errs = append(errs, n.registry.close())
	}
	if n.Dir != "" && !n.keepDir {
		errs = append(errs, os.RemoveAll(n.Dir))
	}
	return errors.Join(errs...)
}
