package model

import (
	"cmp"
	"time"
)

// Front is an object that has a CLB serve pods: a Service of type LoadBalancer or an
// Ingress. It is what both have in common; a pass works on fronts and asks for the
// rest only to learn what is wanted.
type Front struct {
	Kind                 Kind
	Namespace, Name, UID string
	ResourceVersion      string
	Created              time.Time
	Deleting             bool
	Finalizers           []string
	Annotations          map[string]string
	// Class is spec.loadBalancerClass, or the Ingress's class by field or
	// annotation; "" when unset.
	Class string
	// Addresses are the IPs and hostnames in status.loadBalancer.
	Addresses []string
}

// Ref names the object.
func (f *Front) Ref() Ref { return Ref{f.Kind, f.Namespace, f.Name} }

// String writes kind, namespace and name, for people.
func (f *Front) String() string { return string(f.Kind) + " " + f.Ref().String() }

// Before orders fronts by who has the older right to what both want: the one created
// first, then the lower UID.
func (f *Front) Before(g *Front) int {
	return cmp.Or(f.Created.Compare(g.Created), cmp.Compare(f.UID, g.UID))
}

// Ingress is what a pass needs of a Kubernetes Ingress, whatever version of the API
// it was read in.
type Ingress struct {
	Front
	// Default is spec.defaultBackend, nil when there is none.
	Default *IngressBackend
	Rules   []IngressRule
	TLS     []IngressTLS
}

// IngressRule is one path of one host.
type IngressRule struct {
	// Field is where it stands in the object: "spec.rules[0].http.paths[1]".
	Field string
	// Host is "" for every host.
	Host string
	Path string
	// PathType is Exact, Prefix or ImplementationSpecific; the old API, where it may
	// be missing, means ImplementationSpecific.
	PathType string
	Backend  IngressBackend
}

// IngressBackend is a port of a Service of the same namespace, by name or number.
type IngressBackend struct {
	Service    string
	PortName   string
	PortNumber int
	// Resource: it names an object that is no Service, which no CLB can serve.
	Resource bool
}

// IngressTLS is a secret and the hosts that it is for; without hosts it is for all
// that no other names.
type IngressTLS struct {
	Hosts  []string
	Secret string
}
