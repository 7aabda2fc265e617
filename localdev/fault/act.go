package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/node"
)

// Act is something that happens once.
type Act struct {
	// Do is one of RestartComponent and so on; which of the others it takes stands there.
	Do        string `json:"do"`
	Component string `json:"component,omitempty"`
	Node      string `json:"node,omitempty"`
	// Pod is a namespace/name.
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Function  string `json:"function,omitempty"`
	// GraceSeconds is what pods get for their hooks and SIGTERM.
	GraceSeconds int `json:"graceSeconds,omitempty"`
}

// What can be done.
const (
	RestartComponent  = "restart"            // Component of the control plane, kube-apiserver if none
	CompactEtcd       = "compact-etcd"       // cluster.Cluster.Compact
	ShutDownNode      = "shutdown-node"      // Node, GraceSeconds: node.Fleet.Shutdown
	VanishNode        = "vanish"             // Node: node.Fleet.Vanish
	EvictPod          = "evict"              // Pod, GraceSeconds: node.Fleet.Evict
	KillForMemory     = "kill-for-memory"    // Pod, Container, its first if none: node.Fleet.KillForMemory
	CrashContainer    = "crash"              // Pod, Container, its first if none: node.Fleet.Crash
	BootNode          = "boot"               // Node: node.Fleet.Boot
	KillFunction      = "kill"               // Function: scf.Server.Kill
	ExpireCredentials = "expire-credentials" // tc3.Store.Expire, as of now
)

// acts carry them out.
var acts = map[string]func(*Faults, context.Context, Act) error{
	RestartComponent: func(f *Faults, ctx context.Context, a Act) error {
		if f.parts.Cluster == nil {
			return errNoCluster
		}
		if a.Component == "" {
			a.Component = string(cluster.APIServer)
		}
		return f.parts.Cluster.Restart(ctx, cluster.Component(a.Component))
	},
	CompactEtcd: func(f *Faults, ctx context.Context, _ Act) error {
		if f.parts.Cluster == nil {
			return errNoCluster
		}
		return f.parts.Cluster.Compact(ctx)
	},
	ShutDownNode: func(f *Faults, ctx context.Context, a Act) error {
		if f.parts.Nodes == nil {
			return errNoNodes
		}
		return f.parts.Nodes.Shutdown(ctx, a.Node, a.grace())
	},
	VanishNode: func(f *Faults, _ context.Context, a Act) error {
		if f.parts.Nodes == nil {
			return errNoNodes
		}
		return f.parts.Nodes.Vanish(a.Node)
	},
	EvictPod: func(f *Faults, ctx context.Context, a Act) error {
		uid, _, err := f.pod(ctx, a.Pod)
		if err != nil {
			return err
		}
		return f.parts.Nodes.Evict(uid, a.grace())
	},
	BootNode: func(f *Faults, ctx context.Context, a Act) error {
		if f.parts.Nodes == nil {
			return errNoNodes
		}
		return f.parts.Nodes.Boot(ctx, a.Node)
	},
	KillForMemory: func(f *Faults, ctx context.Context, a Act) error {
		return f.strike(ctx, a, (*node.Fleet).KillForMemory)
	},
	CrashContainer: func(f *Faults, ctx context.Context, a Act) error {
		return f.strike(ctx, a, (*node.Fleet).Crash)
	},
	KillFunction: func(f *Faults, _ context.Context, a Act) error {
		if f.parts.SCF == nil {
			return errors.New("there are no functions here")
		}
		if killed := f.parts.SCF.Kill(a.Function); len(killed) == 0 {
			return fmt.Errorf("function: nothing runs that is called %q", a.Function)
		}
		return nil
	},
	ExpireCredentials: func(f *Faults, _ context.Context, _ Act) error {
		if f.parts.Store == nil {
			return errors.New("nobody checks credentials here")
		}
		f.parts.Store.Expire(time.Now())
		return nil
	},
}

var (
	errNoCluster = errors.New("there is no cluster here")
	errNoNodes   = errors.New("there are no emulated nodes here")
)

// Do has it happen, and waits until it has.
func (f *Faults) Do(ctx context.Context, a Act) error {
	do := acts[a.Do]
	if do == nil {
		return fmt.Errorf("do: is %q, want one of %s", a.Do, strings.Join(slices.Sorted(maps.Keys(acts)), ", "))
	}
	if a.GraceSeconds < 0 {
		return errors.New("graceSeconds: want no number below 0")
	}
	return do(f, ctx, a)
}

// strike ends a container of a pod.
func (f *Faults) strike(ctx context.Context, a Act, how func(*node.Fleet, types.UID, string) error) error {
	uid, first, err := f.pod(ctx, a.Pod)
	if err != nil {
		return err
	}
	if a.Container == "" {
		a.Container = first
	}
	return how(f.parts.Nodes, uid, a.Container)
}

func (a Act) grace() time.Duration { return time.Duration(a.GraceSeconds) * time.Second }

// pod finds a pod of the emulated nodes, and the name of its first container.
func (f *Faults) pod(ctx context.Context, name string) (uid types.UID, container string, err error) {
	if f.parts.Nodes == nil || f.parts.Cluster == nil {
		return "", "", errNoNodes
	}
	namespace, name, ok := strings.Cut(name, "/")
	if !ok {
		return "", "", errors.New("pod: want namespace/name")
	}
	client, err := kubernetes.NewForConfig(cluster.Patient(f.parts.Cluster.RESTConfig()))
	if err != nil {
		return "", "", err
	}
	p, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("pod: %w", err)
	}
	return p.UID, p.Spec.Containers[0].Name, nil
}
