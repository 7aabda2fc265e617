package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// ingressVersion is a version of the API that has had Ingresses.
type ingressVersion struct {
	schema.GroupVersion
	one, many func() runtime.Object
}

// ingressVersions are all of them, best first: networking.k8s.io/v1 came with
// Kubernetes 1.19, v1beta1 with 1.14; both betas went with 1.22.
var ingressVersions = []ingressVersion{
	{networkingv1.SchemeGroupVersion, func() runtime.Object { return &networkingv1.Ingress{} }, func() runtime.Object { return &networkingv1.IngressList{} }},
	{networkingv1beta1.SchemeGroupVersion, func() runtime.Object { return &networkingv1beta1.Ingress{} }, func() runtime.Object { return &networkingv1beta1.IngressList{} }},
	{extensionsv1beta1.SchemeGroupVersion, func() runtime.Object { return &extensionsv1beta1.Ingress{} }, func() runtime.Object { return &extensionsv1beta1.IngressList{} }},
}

// ingressAPI is how the server has Ingresses, found when somebody first asks.
type ingressAPI struct {
	mu      sync.Mutex
	found   bool
	version *ingressVersion // nil where it has none
	client  rest.Interface
}

// IngressVersion discovers which version of the API has Ingresses, the best where
// several do: networking.k8s.io was there before Ingresses were. false where none
// does. get reads a path of the server.
func IngressVersion(ctx context.Context, get func(ctx context.Context, path string) ([]byte, error)) (schema.GroupVersion, bool, error) {
	for _, v := range ingressVersions {
		op := "discovering " + v.String()
		body, err := get(ctx, "/apis/"+v.String())
		err = classify(op, err)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return schema.GroupVersion{}, false, err
		}
		var list metav1.APIResourceList
		if err := json.Unmarshal(body, &list); err != nil {
			return schema.GroupVersion{}, false, fault.New(fault.Transient, op, err)
		}
		if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "ingresses" }) {
			return v.GroupVersion, true, nil
		}
	}
	return schema.GroupVersion{}, false, nil
}

// ingresses gives the client for Ingresses and their version, nil where the server
// has none. What was found is kept; a failure is not.
func (c *Client) ingresses(ctx context.Context) (rest.Interface, *ingressVersion, error) {
	api := &c.ingress
	api.mu.Lock()
	defer api.mu.Unlock()
	if api.found {
		return api.client, api.version, nil
	}
	gv, ok, err := IngressVersion(ctx, func(ctx context.Context, path string) ([]byte, error) { return c.raw.Get().AbsPath(path).DoRaw(ctx) })
	if err != nil {
		return nil, nil, err
	}
	if ok {
		i := slices.IndexFunc(ingressVersions, func(v ingressVersion) bool { return v.GroupVersion == gv })
		if api.client, err = c.build(gv, "/apis", protobuf); err != nil {
			return nil, nil, fmt.Errorf("making the client for Ingresses: %w", err)
		}
		api.version = &ingressVersions[i]
	}
	api.found = true
	return api.client, api.version, nil
}

// apiVersion of a kind, as objects that refer to one of it say.
func (c *Client) apiVersion(kind string) string {
	if kind != string(model.KindIngress) {
		return "v1"
	}
	c.ingress.mu.Lock()
	defer c.ingress.mu.Unlock()
	if c.ingress.version != nil {
		return c.ingress.version.String()
	}
	return networkingv1.SchemeGroupVersion.String()
}

// Ingress reads an Ingress as it is now. NotFound also where the server has none.
func (c *Client) Ingress(ctx context.Context, ref model.Ref) (model.Ingress, error) {
	op := "reading Ingress " + ref.String()
	client, version, err := c.ingresses(ctx)
	if err != nil {
		return model.Ingress{}, err
	}
	if version == nil {
		return model.Ingress{}, fault.New(fault.NotFound, op, errNoIngresses)
	}
	ing := version.one()
	if err := client.Get().Namespace(ref.Namespace).Resource("ingresses").Name(ref.Name).Do(ctx).Into(ing); err != nil {
		return model.Ingress{}, classify(op, err)
	}
	return IngressFrom(ing)
}

// errNoIngresses: the server has no such kind, so there can't be one.
var errNoIngresses = fmt.Errorf("the server has no Ingresses")

// Ingresses lists the Ingresses of a namespace ("" for all) that keep says (nil for
// all), at least as new as resourceVersion; none where the server has none.
func (c *Client) Ingresses(ctx context.Context, namespace, resourceVersion string, keep func(*model.Ingress) bool) ([]model.Ingress, error) {
	client, version, err := c.ingresses(ctx)
	if err != nil || version == nil {
		return nil, err
	}
	var out []model.Ingress
	query := listing{from: client, namespace: namespace, resource: "ingresses", page: version.many}
	err = c.list(ctx, query, listOptions(resourceVersion), func(o runtime.Object) error {
		ing, err := IngressFrom(o)
		if err == nil && (keep == nil || keep(&ing)) {
			out = append(out, ing)
		}
		return err
	})
	if fault.Is(err, fault.NotFound) {
		c.forgetIngresses() // a server that was upgraded serves them elsewhere
	}
	return out, err
}

func (c *Client) forgetIngresses() {
	c.ingress.mu.Lock()
	defer c.ingress.mu.Unlock()
	c.ingress.found, c.ingress.version, c.ingress.client = false, nil, nil
}
