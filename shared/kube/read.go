package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// listPage bounds the memory of a list: pods are a few kilobytes each, and the
// function has 128 MB.
const listPage = 500

// Service reads a Service as it is now.
func (c *Client) Service(ctx context.Context, ref model.Ref) (model.Service, error) {
	var svc corev1.Service
	if err := c.core.Get().Namespace(ref.Namespace).Resource("services").Name(ref.Name).Do(ctx).Into(&svc); err != nil {
		return model.Service{}, classify("reading Service "+ref.String(), err)
	}
	return ServiceFrom(&svc), nil
}

// Cached as the resourceVersion of a list stands for whatever the server has at hand:
// cheap, and maybe a little old.
const Cached = "0"

// Services lists the Services of a namespace ("" for all) that keep says (nil for
// all), at least as new as resourceVersion.
func (c *Client) Services(ctx context.Context, namespace, resourceVersion string, keep func(*model.Service) bool) ([]model.Service, error) {
	var out []model.Service
	query := listing{from: c.core, namespace: namespace, resource: "services", page: func() runtime.Object { return &corev1.ServiceList{} }}
	err := c.list(ctx, query, listOptions(resourceVersion), func(o runtime.Object) error {
		s, ok := o.(*corev1.Service)
		if !ok {
			return unexpected(query, o)
		}
		if svc := ServiceFrom(s); keep == nil || keep(&svc) {
			out = append(out, svc)
		}
		return nil
	})
	return out, err
}

// Secret reads the data of a secret.
func (c *Client) Secret(ctx context.Context, ref model.Ref) (map[string][]byte, error) {
	var secret corev1.Secret
	if err := c.core.Get().Namespace(ref.Namespace).Resource("secrets").Name(ref.Name).Do(ctx).Into(&secret); err != nil {
		return nil, classify("reading Secret "+ref.String(), err)
	}
	return secret.Data, nil
}

// Pod reads a pod as it is now.
func (c *Client) Pod(ctx context.Context, ref model.Ref) (model.Pod, error) {
	var pod corev1.Pod
	if err := c.core.Get().Namespace(ref.Namespace).Resource("pods").Name(ref.Name).Do(ctx).Into(&pod); err != nil {
		return model.Pod{}, classify("reading pod "+ref.String(), err)
	}
	return c.podFrom(&pod), nil
}

// podFrom is PodFrom with what depends on when the pod is read.
func (c *Client) podFrom(p *corev1.Pod) model.Pod {
	out := PodFrom(p)
	out.Draining = !out.DrainedUntil(c.clock.now()).IsZero()
	return out
}

// PodQuery says which pods to list.
type PodQuery struct {
	// Namespace, "" for all.
	Namespace string
	// Labels they must have, each with one of the values; nil for any.
	Labels map[string][]string
	// IP they must have, "" for any.
	IP string
	// ResourceVersion the list must at least have, "" for the newest.
	ResourceVersion string
	// Keep says which of them to return, nil for all: what the server can't select
	// by need not be kept in memory until the last page.
	Keep func(*model.Pod) bool
}

// selector writes q's labels as the API wants them.
func (q PodQuery) selector() (string, error) {
	s := labels.NewSelector()
	for _, key := range slices.Sorted(maps.Keys(q.Labels)) {
		r, err := labels.NewRequirement(key, selection.In, q.Labels[key])
		if err != nil {
			return "", fault.New(fault.Invalid, "selecting pods by label "+key, err)
		}
		s = s.Add(*r)
	}
	return s.String(), nil
}

// Pods lists pods.
func (c *Client) Pods(ctx context.Context, q PodQuery) ([]*model.Pod, error) {
	var out []*model.Pod
	opts := listOptions(q.ResourceVersion)
	var err error
	if opts.LabelSelector, err = q.selector(); err != nil {
		return nil, err
	}
	if q.IP != "" {
		opts.FieldSelector = fields.OneTermEqualSelector("status.podIP", q.IP).String()
	}
	query := listing{from: c.core, namespace: q.Namespace, resource: "pods", page: func() runtime.Object { return &corev1.PodList{} }}
	err = c.list(ctx, query, opts, func(o runtime.Object) error {
		p, ok := o.(*corev1.Pod)
		if !ok {
			return unexpected(query, o)
		}
		if pod := c.podFrom(p); q.Keep == nil || q.Keep(&pod) {
			out = append(out, &pod)
		}
		return nil
	})
	return out, err
}

// listing says what to list.
type listing struct {
	from                rest.Interface
	namespace, resource string
	// page makes an empty list to read a page into.
	page func() runtime.Object
}

// list hands each object to each, page after page. The objects are the caller's.
func (c *Client) list(ctx context.Context, q listing, opts *metav1.ListOptions, each func(runtime.Object) error) error {
	selectors := *opts
	for {
		page := q.page()
		if err := q.from.Get().Namespace(q.namespace).Resource(q.resource).VersionedParams(opts, c.codec).Do(ctx).Into(page); err != nil {
			return classify("listing "+q.resource, err)
		}
		if err := meta.EachListItem(page, each); err != nil {
			return err
		}
		about, err := meta.ListAccessor(page)
		if err != nil {
			return fault.New(fault.Permanent, "listing "+q.resource, err)
		}
		if about.GetContinue() == "" {
			return nil
		}
		opts = nextPage(about.GetContinue())
		opts.LabelSelector, opts.FieldSelector = selectors.LabelSelector, selectors.FieldSelector
	}
}

// unexpected is what a list of ours can't hold.
func unexpected(q listing, o runtime.Object) error {
	return fault.New(fault.Permanent, "listing "+q.resource, fmt.Errorf("got %T", o))
}

// listOptions asks for a first page at least as new as resourceVersion: such a list
// may come from the server's cache, which is cheaper for it than one from etcd.
func listOptions(resourceVersion string) *metav1.ListOptions {
	o := &metav1.ListOptions{Limit: listPage}
	if resourceVersion != "" {
		o.ResourceVersion, o.ResourceVersionMatch = resourceVersion, metav1.ResourceVersionMatchNotOlderThan
	}
	return o
}

// nextPage continues a list. The token carries the version, which must not be
// named again.
func nextPage(token string) *metav1.ListOptions {
	return &metav1.ListOptions{Limit: listPage, Continue: token}
}

// configObject is a TkeServiceConfig on the wire.
type configObject struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Metadata   metav1.ObjectMeta  `json:"metadata"`
	Spec       desired.ConfigSpec `json:"spec"`
}

// ServiceConfig reads a TkeServiceConfig. NotFound also where the server doesn't
// know the kind.
func (c *Client) ServiceConfig(ctx context.Context, ref model.Ref) (desired.ConfigSpec, error) {
	op := "reading TkeServiceConfig " + ref.String()
	body, err := c.raw.Get().Namespace(ref.Namespace).Resource("tkeserviceconfigs").Name(ref.Name).DoRaw(ctx)
	if err != nil {
		return desired.ConfigSpec{}, classify(op, err)
	}
	var object configObject
	if err := json.Unmarshal(body, &object); err != nil {
		return desired.ConfigSpec{}, &fault.Error{Kind: fault.Invalid, Op: op, Field: "spec", Err: err}
	}
	return object.Spec, nil
}

// ApplyServiceConfig creates the TkeServiceConfig of a Service or Ingress, owned by
// it so that it goes with it, or replaces its spec.
func (c *Client) ApplyServiceConfig(ctx context.Context, owner *model.Front, name string, spec desired.ConfigSpec) error {
	op := fmt.Sprintf("writing TkeServiceConfig %s/%s", owner.Namespace, name)
	object := configObject{APIVersion: "cloud.tencent.com/v1alpha1", Kind: "TkeServiceConfig", Spec: spec}
	object.Metadata.Name, object.Metadata.Namespace = name, owner.Namespace
	kind := string(owner.Kind)
	object.Metadata.OwnerReferences = []metav1.OwnerReference{{APIVersion: c.apiVersion(kind), Kind: kind, Name: owner.Name, UID: uid(owner.UID)}}
	body, err := json.Marshal(object)
	if err != nil {
		return fault.New(fault.Permanent, op, err)
	}
	err = c.raw.Post().Namespace(owner.Namespace).Resource("tkeserviceconfigs").Body(body).Do(ctx).Error()
	if isAlreadyExists(err) {
		patch, merr := json.Marshal(map[string]any{"spec": spec})
		if merr != nil {
			return fault.New(fault.Permanent, op, merr)
		}
		err = c.raw.Patch(mergePatch).Namespace(owner.Namespace).Resource("tkeserviceconfigs").Name(name).Body(patch).Do(ctx).Error()
	}
	return classify(op, err)
}
