package kube

import (
	"fmt"

	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// classAnnotation is an Ingress's class from before spec.ingressClassName.
const classAnnotation = "kubernetes.io/ingress.class"

// IngressFrom reads what we need of an Ingress of any version of the API:
// networking.k8s.io/v1, networking.k8s.io/v1beta1 or extensions/v1beta1.
func IngressFrom(o runtime.Object) (model.Ingress, error) {
	switch ing := o.(type) {
	case *networkingv1.Ingress:
		return fromV1(ing), nil
	case *networkingv1beta1.Ingress:
		return fromBeta(ing), nil
	case *extensionsv1beta1.Ingress:
		beta, err := renamed(ing)
		if err != nil {
			return model.Ingress{}, err
		}
		return fromBeta(beta), nil
	}
	return model.Ingress{}, fault.New(fault.Permanent, "converting an Ingress", fmt.Errorf("%T is none", o))
}

// renamed is an Ingress of extensions/v1beta1 in networking.k8s.io/v1beta1: the group
// has taken the objects over as they were, so that they are the same on the wire.
func renamed(ing *extensionsv1beta1.Ingress) (*networkingv1beta1.Ingress, error) {
	raw, err := ing.Marshal()
	if err != nil {
		return nil, fmt.Errorf("converting Ingress %s/%s: %w", ing.Namespace, ing.Name, err)
	}
	var out networkingv1beta1.Ingress
	if err := out.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("converting Ingress %s/%s: %w", ing.Namespace, ing.Name, err)
	}
	return &out, nil
}

func fromV1(ing *networkingv1.Ingress) model.Ingress {
	out := model.Ingress{Front: ingressFront(&ing.ObjectMeta, ing.Spec.IngressClassName)}
	if ing.Spec.DefaultBackend != nil {
		out.Default = new(backendV1(*ing.Spec.DefaultBackend))
	}
	for i, rule := range ing.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for j, path := range rule.HTTP.Paths {
			r := model.IngressRule{Field: fieldOf(i, j), Host: rule.Host, Path: path.Path, PathType: string(networkingv1.PathTypeImplementationSpecific), Backend: backendV1(path.Backend)}
			if path.PathType != nil {
				r.PathType = string(*path.PathType)
			}
			out.Rules = append(out.Rules, r)
		}
	}
	for _, tls := range ing.Spec.TLS {
		out.TLS = append(out.TLS, model.IngressTLS{Hosts: tls.Hosts, Secret: tls.SecretName})
	}
	for _, at := range ing.Status.LoadBalancer.Ingress {
		out.Addresses = appendAddress(out.Addresses, at.IP, at.Hostname)
	}
	return out
}

func fromBeta(ing *networkingv1beta1.Ingress) model.Ingress {
	out := model.Ingress{Front: ingressFront(&ing.ObjectMeta, ing.Spec.IngressClassName)}
	if ing.Spec.Backend != nil {
		out.Default = new(backendBeta(*ing.Spec.Backend))
	}
	for i, rule := range ing.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for j, path := range rule.HTTP.Paths {
			// The type came with Kubernetes 1.18 and was filled in where it was missing.
			r := model.IngressRule{Field: fieldOf(i, j), Host: rule.Host, Path: path.Path, PathType: string(networkingv1beta1.PathTypeImplementationSpecific), Backend: backendBeta(path.Backend)}
			if path.PathType != nil {
				r.PathType = string(*path.PathType)
			}
			out.Rules = append(out.Rules, r)
		}
	}
	for _, tls := range ing.Spec.TLS {
		out.TLS = append(out.TLS, model.IngressTLS{Hosts: tls.Hosts, Secret: tls.SecretName})
	}
	for _, at := range ing.Status.LoadBalancer.Ingress {
		out.Addresses = appendAddress(out.Addresses, at.IP, at.Hostname)
	}
	return out
}

func ingressFront(meta *metav1.ObjectMeta, class *string) model.Front {
	f := frontOf(model.KindIngress, meta)
	if f.Class = meta.Annotations[classAnnotation]; class != nil {
		f.Class = *class
	}
	return f
}

func backendV1(b networkingv1.IngressBackend) model.IngressBackend {
	out := model.IngressBackend{Resource: b.Resource != nil}
	if b.Service != nil {
		out.Service, out.PortName, out.PortNumber = b.Service.Name, b.Service.Port.Name, int(b.Service.Port.Number)
	}
	return out
}

func backendBeta(b networkingv1beta1.IngressBackend) model.IngressBackend {
	out := model.IngressBackend{Service: b.ServiceName, Resource: b.Resource != nil}
	if b.ServicePort.Type == intstr.String {
		out.PortName = b.ServicePort.StrVal
	} else {
		out.PortNumber = int(b.ServicePort.IntVal)
	}
	return out
}

// fieldOf names a path for people.
func fieldOf(rule, path int) string { return fmt.Sprintf("spec.rules[%d].http.paths[%d]", rule, path) }
