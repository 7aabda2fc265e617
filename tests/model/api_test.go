package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/clb-direct/clb-direct/shared/model"
)

// object is what the API server stores.
type object interface {
	runtime.Object
	metav1.Object
}

// api is a Kubernetes API server, as far as the functions use one. What it stores is
// never changed in place.
type api struct {
	w       *world
	codec   *protobuf.Serializer
	objects map[string]map[string]object // by resource, then namespace/name
	version int
	// changed is told of every new state, gone of what was there last.
	changed func(resource string, now object)
	gone    func(resource string, last object)
}

var resources = map[string]func() object{
	"pods":     func() object { return &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}} },
	"services": func() object { return &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}} },
	"configmaps": func() object {
		return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
	},
	"events": func() object { return &corev1.Event{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}} },
	"leases": func() object {
		return &coordinationv1.Lease{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}}
	},
}

func newAPI(w *world) *api {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		w.t.Fatal(err)
	}
	if err := coordinationv1.AddToScheme(scheme); err != nil {
		w.t.Fatal(err)
	}
	a := &api{w: w, codec: protobuf.NewSerializer(scheme, scheme), objects: map[string]map[string]object{}}
	for r := range resources {
		a.objects[r] = map[string]object{}
	}
	return a
}

// put stores a new state; the caller gives it away.
func (a *api) put(resource string, o object) {
	a.version++
	o.SetResourceVersion(strconv.Itoa(a.version))
	a.objects[resource][o.GetNamespace()+"/"+o.GetName()] = o
	if a.changed != nil {
		a.changed(resource, o)
	}
}

func (a *api) remove(resource, key string) {
	o := a.objects[resource][key]
	if o == nil {
		return
	}
	delete(a.objects[resource], key)
	last := o.DeepCopyObject().(object)
	a.version++
	last.SetResourceVersion(strconv.Itoa(a.version))
	if a.gone != nil {
		a.gone(resource, last)
	}
}

// serve answers one request.
func (a *api) serve(r *http.Request, body []byte) *http.Response {
	switch r.URL.Path {
	case "/version":
		return a.plain(http.StatusOK, map[string]string{"major": "1", "minor": "34"})
	case "/apis/coordination.k8s.io":
		return a.plain(http.StatusOK, metav1.APIGroup{Versions: []metav1.GroupVersionForDiscovery{{Version: "v1"}}})
	}
	_, path, ok := strings.Cut(r.URL.Path, "/v1/")
	namespace := ""
	if in, found := strings.CutPrefix(path, "namespaces/"); found {
		namespace, path, _ = strings.Cut(in, "/")
	}
	parts := strings.Split(path, "/")
	if !ok || resources[parts[0]] == nil {
		return a.refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
	resource := parts[0]
	if len(parts) == 1 {
		if r.Method == http.MethodPost {
			return a.create(resource, namespace, body)
		}
		return a.list(resource, namespace, r)
	}
	key := namespace + "/" + parts[1]
	have := a.objects[resource][key]
	if have == nil {
		return a.refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
	switch r.Method {
	case http.MethodGet:
		return a.answer(http.StatusOK, have)
	case http.MethodPut:
		now := resources[resource]()
		if _, _, err := a.codec.Decode(body, nil, now); err != nil {
			return a.refuse(http.StatusBadRequest, metav1.StatusReasonBadRequest)
		}
		if now.GetResourceVersion() != have.GetResourceVersion() {
			return a.refuse(http.StatusConflict, metav1.StatusReasonConflict)
		}
		a.put(resource, now)
		return a.answer(http.StatusOK, now)
	case http.MethodPatch:
		return a.patch(resource, key, have, body)
	}
	return a.refuse(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed)
}

func (a *api) create(resource, namespace string, body []byte) *http.Response {
	now := resources[resource]()
	if _, _, err := a.codec.Decode(body, nil, now); err != nil {
		return a.refuse(http.StatusBadRequest, metav1.StatusReasonBadRequest)
	}
	if resource == "events" { // nobody reads them
		return a.answer(http.StatusCreated, now)
	}
	if a.objects[resource][namespace+"/"+now.GetName()] != nil {
		return a.refuse(http.StatusConflict, metav1.StatusReasonAlreadyExists)
	}
	now.SetNamespace(namespace)
	now.SetCreationTimestamp(metav1.NewTime(time.Now()))
	a.put(resource, now)
	return a.answer(http.StatusCreated, now)
}

func (a *api) list(resource, namespace string, r *http.Request) *http.Response {
	q := r.URL.Query()
	selector, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		return a.refuse(http.StatusBadRequest, metav1.StatusReasonBadRequest)
	}
	ip, byIP := strings.CutPrefix(q.Get("fieldSelector"), "status.podIP=")
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(a.version)}
	pods := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: meta}
	services := &corev1.ServiceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"}, ListMeta: meta}
	for _, key := range slices.Sorted(maps.Keys(a.objects[resource])) {
		o := a.objects[resource][key]
		if namespace != "" && o.GetNamespace() != namespace || !selector.Matches(labels.Set(o.GetLabels())) {
			continue
		}
		switch o := o.(type) {
		case *corev1.Pod:
			if !byIP || o.Status.PodIP == ip {
				pods.Items = append(pods.Items, *o)
			}
		case *corev1.Service:
			services.Items = append(services.Items, *o)
		}
	}
	if resource == "pods" {
		return a.answer(http.StatusOK, pods)
	}
	return a.answer(http.StatusOK, services)
}

// change is what any of our patches may say.
type change struct {
	Metadata struct {
		UID             string             `json:"uid"`
		ResourceVersion string             `json:"resourceVersion"`
		Annotations     map[string]*string `json:"annotations"`
		Finalizers      *[]string          `json:"finalizers"`
	} `json:"metadata"`
	Data   map[string]*string `json:"data"`
	Status struct {
		Conditions   []corev1.PodCondition      `json:"conditions"`
		LoadBalancer *corev1.LoadBalancerStatus `json:"loadBalancer"`
	} `json:"status"`
}

func (a *api) patch(resource, key string, have object, body []byte) *http.Response {
	var c change
	if err := json.Unmarshal(body, &c); err != nil {
		return a.refuse(http.StatusBadRequest, metav1.StatusReasonBadRequest)
	}
	m := c.Metadata
	if m.UID != "" && m.UID != string(have.GetUID()) || m.ResourceVersion != "" && m.ResourceVersion != have.GetResourceVersion() {
		return a.refuse(http.StatusConflict, metav1.StatusReasonConflict)
	}
	now := have.DeepCopyObject().(object)
	if len(m.Annotations) > 0 {
		now.SetAnnotations(merge(now.GetAnnotations(), m.Annotations))
	}
	if m.Finalizers != nil {
		now.SetFinalizers(*m.Finalizers)
	}
	switch o := now.(type) {
	case *corev1.ConfigMap:
		o.Data = merge(o.Data, c.Data)
	case *corev1.Service:
		if c.Status.LoadBalancer != nil {
			o.Status.LoadBalancer = *c.Status.LoadBalancer
		}
	case *corev1.Pod:
		for _, cond := range c.Status.Conditions {
			setCondition(o, cond)
		}
		a.w.law.patched(have.(*corev1.Pod), o)
	}
	if now.GetDeletionTimestamp() != nil && len(now.GetFinalizers()) == 0 && resource == "services" {
		a.objects[resource][key] = now
		a.remove(resource, key)
		return a.answer(http.StatusOK, now)
	}
	a.put(resource, now)
	return a.answer(http.StatusOK, now)
}

func merge(have map[string]string, with map[string]*string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range with {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = *v
		}
	}
	return out
}

func setCondition(p *corev1.Pod, cond corev1.PodCondition) {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == cond.Type {
			p.Status.Conditions[i] = cond
			return
		}
	}
	p.Status.Conditions = append(p.Status.Conditions, cond)
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func isTrue(p *corev1.Pod, kind corev1.PodConditionType) bool {
	c := condition(p, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func gateOpen(p *corev1.Pod) bool { return isTrue(p, model.GateType) }

func (a *api) answer(status int, o runtime.Object) *http.Response {
	var b bytes.Buffer
	if err := a.codec.Encode(o, &b); err != nil {
		panic(fmt.Sprintf("encoding %T: %v", o, err))
	}
	return response(status, "application/vnd.kubernetes.protobuf", b.Bytes())
}

func (a *api) refuse(status int, reason metav1.StatusReason) *http.Response {
	return a.plain(status, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(status)})
}

func (a *api) plain(status int, v any) *http.Response {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", v, err))
	}
	return response(status, "application/json", raw)
}

// response is an answer of any server here; its Date is the world's time.
func response(status int, kind string, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
