package desired

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// namePrefix begins every listener name of ours. Listener names are 1 to 80
// letters, digits, - and _ (CLB API, CreateListener): prefix, cluster id, UID,
// protocol and port stay below that for cluster ids up to MaxClusterID.
const namePrefix = "clb-direct"

// MaxClusterID is the longest cluster id that fits into a listener's name.
const MaxClusterID = 20

// ListenerName names the listener of one port of the object with the given UID.
// The name is the ownership mark: cluster, owner, protocol and port.
func ListenerName(cluster, uid string, protocol model.Protocol, port int) string {
	return strings.Join([]string{namePrefix, cluster, uid, string(protocol), strconv.Itoa(port)}, "_")
}

// Ownership is what a listener's name says.
type Ownership struct {
	Cluster, UID string
	Protocol     model.Protocol
	Port         int
}

// OwnerOf reads a listener's name; ok is false for everybody else's, which is every
// name that ListenerName doesn't make.
func OwnerOf(name string) (o Ownership, ok bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 5 || parts[0] != namePrefix {
		return o, false
	}
	port, err := strconv.Atoi(parts[4])
	if err != nil {
		return o, false
	}
	o = Ownership{Cluster: parts[1], UID: parts[2], Protocol: model.Protocol(parts[3]), Port: port}
	return o, ListenerName(o.Cluster, o.UID, o.Protocol, o.Port) == name // Atoi takes "+80" and "080" too
}

// serviceWants are a Service's listeners, one per port, with its own pods behind them.
func serviceWants(svc *model.Service, src Sources, p Policy) (w Wants) {
	for i, sp := range svc.Ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		b := Backing{
			Spot:  model.Spot{Listener: ListenerName(p.Cluster, svc.UID, sp.Protocol, sp.Port)},
			Front: &svc.Front, Service: svc, Port: sp, Key: PortKey(sp.Protocol, sp.Port),
			Name: fmt.Sprintf("Service %s port %s", svc.Ref(), PortKey(sp.Protocol, sp.Port)),
		}
		switch problem := portProblem(field, sp); {
		case problem != nil:
			w.Problems = append(w.Problems, *problem)
			b.Broken = "the port can't be a listener, see the Service's Events"
		default:
			l := model.WantedListener{Name: b.Listener, Protocol: sp.Protocol, Port: sp.Port, Owner: &svc.Front, Key: b.Key}
			if src.Config != nil {
				l.Settings = src.Config.Listeners[ListenerKey{sp.Protocol, sp.Port}]
			}
			w.Listeners = append(w.Listeners, l)
		}
		w.Backings = append(w.Backings, b)
	}
	return w
}

func portProblem(field string, sp model.ServicePort) *Problem {
	switch {
	case sp.Protocol != model.TCP && sp.Protocol != model.UDP:
		return &Problem{Field: field + ".protocol", Message: fmt.Sprintf("is %s, a CLB listener takes TCP or UDP", sp.Protocol)}
	case sp.Port < 1 || sp.Port > 65535:
		return &Problem{Field: field + ".port", Message: fmt.Sprintf("is %d, must be 1 to 65535", sp.Port)}
	}
	return nil
}

// Tags of the CLBs we create: whose they are.
const (
	TagCluster = "clb-direct/cluster"
	TagOwner   = "clb-direct/owner"
)

// OwnTags are the tags of a CLB made for f.
func OwnTags(f *model.Front, p Policy) map[string]string {
	return map[string]string{TagCluster: p.Cluster, TagOwner: f.UID}
}

// Created tells whether lb was made by us for f.
func Created(lb *model.LoadBalancer, f *model.Front, p Policy) bool {
	return lb.Tags[TagCluster] == p.Cluster && lb.Tags[TagOwner] == f.UID
}

// foreignTags are the marks of TKE's own controllers (457/46370): a CLB that
// carries one is theirs.
var foreignTags = []string{"tke-createdBy-flag", "tke-clusterId", "tke-lb-serviceuuid", "tke-lb-ingress-uuid", "tke-lb-serviceId"}

// Usable tells whether f may use lb as an existing load balancer.
func Usable(lb *model.LoadBalancer, f *model.Front, p Policy) *Problem {
	if over, _ := Bool(f.Annotations, Takeover); over || Takes(f) {
		return nil
	}
	k := KeysOf(f.Kind)
	for _, key := range foreignTags {
		if _, ok := lb.Tags[key]; ok {
			return &Problem{Code: k.NotOurs, Field: k.ExistingLB, Message: fmt.Sprintf("%s carries the tag %q of TKE's own controller; annotate %s: \"true\" to take it over", lb.ID, key, Takeover)}
		}
	}
	if owner, ok := lb.Tags[TagOwner]; ok && owner != f.UID {
		return &Problem{Code: k.NotOurs, Field: k.ExistingLB, Message: fmt.Sprintf("%s was created for another object (%s) and goes with it", lb.ID, owner)}
	}
	if cluster, ok := lb.Tags[TagCluster]; ok && cluster != p.Cluster {
		return &Problem{Code: k.OtherCluster, Field: k.ExistingLB, Message: fmt.Sprintf("%s belongs to cluster %s", lb.ID, cluster)}
	}
	return nil
}

// Direct tells whether pod p can be a backend by its own address, and if not, why.
func Direct(p *model.Pod, policy Policy) (ok bool, why string) {
	if p.HostNetwork {
		return false, "it uses the host's network"
	}
	if strings.HasPrefix(p.NodeName, "eklet-") || p.Annotations["tke.cloud.tencent.com/pod-type"] == "eklet" {
		return true, "" // super nodes give every pod an ENI address
	}
	switch network := defaultNetwork(p); {
	case slices.Contains(directNetworks, network):
		return true, ""
	case network != "":
		return false, fmt.Sprintf("its network is %s, not an ENI", network)
	}
	if policy.Network == VPCCNI || p.DirectResource {
		return true, ""
	}
	return false, "it has no ENI: annotate tke.cloud.tencent.com/networks: tke-route-eni and request tke.cloud.tencent.com/eni-ip"
}

var directNetworks = []string{"tke-route-eni", "tke-direct-eni"}
