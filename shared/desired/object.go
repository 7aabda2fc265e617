package desired

import (
	"github.com/clb-direct/clb-direct/shared/model"
)

// Object is a front of either kind: exactly one of Service and Ingress is set, and
// Front is its common part.
type Object struct {
	*model.Front
	Service *model.Service
	Ingress *model.Ingress
}

// ServiceObject makes an Object of a Service.
func ServiceObject(s *model.Service) Object { return Object{Front: &s.Front, Service: s} }

// IngressObject makes an Object of an Ingress.
func IngressObject(i *model.Ingress) Object { return Object{Front: &i.Front, Ingress: i} }

// Wants is what an object wants of its CLB.
type Wants struct {
	Listeners []model.WantedListener
	Rules     []model.WantedRule
	// Backings are all its places, those too that can't be had.
	Backings []Backing
	// Unreadable: it can't be told where the object's places are meant to be. What it
	// has is to stay as it is until it can.
	Unreadable bool
	// Problems are what is wrong with what the user wrote; the rest is wanted all
	// the same.
	Problems []Problem
	// Refused are rules that aren't wanted for want of a certificate: codes by Key. It is
	// no matter of Broken, because which places there are must not depend on secrets,
	// which not every pass reads.
	Refused map[string]string
}

// Backing says which pods belong at a place: those of a Service's port.
type Backing struct {
	model.Spot
	// Front is whose place it is.
	Front *model.Front
	// Service is whose pods are bound there; nil when it isn't there.
	Service *model.Service
	Port    model.ServicePort
	// Key is what a refusal is recorded under.
	Key string
	// Name says which place it is, for people: "Service default/nginx port TCP/80".
	Name string
	// Broken says why the object's own words make the place impossible, "" if they
	// don't.
	Broken string
}

// Sources are what an object refers to, as far as it was read.
type Sources struct {
	// Services of the namespace by name.
	Services map[string]*model.Service
	// Secrets by name; nil when they were not looked at, which leaves certificates as
	// they are. A name that maps to nil is not there.
	Secrets map[string]map[string][]byte
	// Config is the object's TkeServiceConfig, nil for none.
	Config *Config
}

// WantsOf computes what o wants.
func WantsOf(o Object, src Sources, p Policy) Wants {
	if o.Ingress != nil {
		return ingressWants(o.Ingress, src, p)
	}
	return serviceWants(o.Service, src, p)
}

// ServicesOf are the names of the Services whose pods o wants bound.
func ServicesOf(o Object) []string {
	if o.Ingress != nil {
		return ingressServices(o.Ingress)
	}
	return []string{o.Name}
}

// SecretsOf are the names of the secrets that o refers to.
func SecretsOf(o Object) []string {
	if o.Ingress != nil {
		return ingressSecrets(o.Ingress)
	}
	return nil
}
