package kube

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/shared/model"
)

// converted reads an Ingress written in the version that text names.
func converted(t *testing.T, text string) model.Ingress {
	t.Helper()
	var version metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(text), &version); err != nil {
		t.Fatal(err)
	}
	for _, v := range ingressVersions {
		if v.String() != version.APIVersion {
			continue
		}
		o := v.one()
		if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
			t.Fatal(err)
		}
		ing, err := IngressFrom(o)
		if err != nil {
			t.Fatal(err)
		}
		return ing
	}
	t.Fatalf("no version %q", version.APIVersion)
	return model.Ingress{}
}

// TestIngressSample: the document's own sample, in its own version of the API, is the
// Ingress that people write today.
func TestIngressSample(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	old, today := read("ingress-v1beta1.yaml"), read("ingress-v1.yaml")
	want := model.Ingress{
		Front: model.Front{
			Kind: model.KindIngress, Namespace: "default", Name: "test-ingress", Class: "qcloud",
			Annotations: map[string]string{"ingress.cloud.tencent.com/direct-access": "true", "kubernetes.io/ingress.class": "qcloud"},
		},
		Rules: []model.IngressRule{{Field: "spec.rules[0].http.paths[0]", Path: "/", PathType: "ImplementationSpecific", Backend: model.IngressBackend{Service: "nginx", PortNumber: 80}}},
	}
	for name, text := range map[string]string{
		"networking/v1":      today,
		"networking/v1beta1": old,
		"extensions/v1beta1": strings.Replace(old, "networking.k8s.io", "extensions", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, converted(t, text)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestIngressFrom(t *testing.T) {
	at := func(rule, path int) string { return fieldOf(rule, path) }
	cases := map[string]struct {
		reason string
		// v1 and beta are what follows apiVersion and kind.
		v1, beta string
		want     model.Ingress
	}{
		"Identity": {
			reason: "who it is",
			v1:     `metadata: {namespace: ns, name: i, uid: u, resourceVersion: "7", creationTimestamp: "2026-03-01T12:00:00Z", deletionTimestamp: "2026-03-01T12:00:00Z", finalizers: [f], annotations: {a: b}}`,
			beta:   `metadata: {namespace: ns, name: i, uid: u, resourceVersion: "7", creationTimestamp: "2026-03-01T12:00:00Z", deletionTimestamp: "2026-03-01T12:00:00Z", finalizers: [f], annotations: {a: b}}`,
			want: model.Ingress{Front: model.Front{
				Namespace: "ns", Name: "i", UID: "u", ResourceVersion: "7", Created: moment.Time, Deleting: true, Finalizers: []string{"f"}, Annotations: map[string]string{"a": "b"},
			}},
		},
		"ClassByField": {
			reason: "the field beats the annotation",
			v1:     `{metadata: {annotations: {kubernetes.io/ingress.class: old}}, spec: {ingressClassName: new}}`,
			beta:   `{metadata: {annotations: {kubernetes.io/ingress.class: old}}, spec: {ingressClassName: new}}`,
			want:   model.Ingress{Front: model.Front{Class: "new", Annotations: map[string]string{"kubernetes.io/ingress.class": "old"}}},
		},
		"Rules": {
			reason: "by host and path, named where they stand; a port by name or number",
			v1: `{spec: {rules: [{host: a.example.com, http: {paths: [{path: /a, pathType: Exact, backend: {service: {name: s, port: {number: 80}}}}, {path: /b, pathType: Prefix, backend: {service: {name: s, port: {name: web}}}}]}},
				{host: none.example.com}, {http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: t, port: {number: 81}}}}]}}]}}`,
			beta: `{spec: {rules: [{host: a.example.com, http: {paths: [{path: /a, pathType: Exact, backend: {serviceName: s, servicePort: 80}}, {path: /b, pathType: Prefix, backend: {serviceName: s, servicePort: web}}]}},
				{host: none.example.com}, {http: {paths: [{backend: {serviceName: t, servicePort: 81}}]}}]}}`,
			want: model.Ingress{Rules: []model.IngressRule{
				{Field: at(0, 0), Host: "a.example.com", Path: "/a", PathType: "Exact", Backend: model.IngressBackend{Service: "s", PortNumber: 80}},
				{Field: at(0, 1), Host: "a.example.com", Path: "/b", PathType: "Prefix", Backend: model.IngressBackend{Service: "s", PortName: "web"}},
				{Field: at(2, 0), PathType: "ImplementationSpecific", Backend: model.IngressBackend{Service: "t", PortNumber: 81}},
			}},
		},
		"Default": {
			reason: "what serves the rest",
			v1:     `{spec: {defaultBackend: {service: {name: s, port: {name: web}}}}}`,
			beta:   `{spec: {backend: {serviceName: s, servicePort: web}}}`,
			want:   model.Ingress{Default: &model.IngressBackend{Service: "s", PortName: "web"}},
		},
		"Resource": {
			reason: "a backend that is no Service",
			v1:     `{spec: {defaultBackend: {resource: {kind: Bucket, name: b}}, rules: [{http: {paths: [{pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}]}}]}}`,
			beta:   `{spec: {backend: {resource: {kind: Bucket, name: b}}, rules: [{http: {paths: [{pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}]}}]}}`,
			want: model.Ingress{
				Default: &model.IngressBackend{Resource: true},
				Rules:   []model.IngressRule{{Field: at(0, 0), PathType: "Prefix", Backend: model.IngressBackend{Resource: true}}},
			},
		},
		"TLS": {
			reason: "secrets and their hosts, and one for all others",
			v1:     `{spec: {tls: [{hosts: [a.example.com, b.example.com], secretName: ab}, {secretName: rest}]}}`,
			beta:   `{spec: {tls: [{hosts: [a.example.com, b.example.com], secretName: ab}, {secretName: rest}]}}`,
			want:   model.Ingress{TLS: []model.IngressTLS{{Hosts: []string{"a.example.com", "b.example.com"}, Secret: "ab"}, {Secret: "rest"}}},
		},
		"Addresses": {
			reason: "IPs and host names",
			v1:     `{status: {loadBalancer: {ingress: [{ip: 1.2.3.4}, {hostname: lb.example.com}, {}]}}}`,
			beta:   `{status: {loadBalancer: {ingress: [{ip: 1.2.3.4}, {hostname: lb.example.com}, {}]}}}`,
			want:   model.Ingress{Front: model.Front{Addresses: []string{"1.2.3.4", "lb.example.com"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Kind = model.KindIngress
			for version, body := range map[string]string{"networking.k8s.io/v1": tc.v1, "networking.k8s.io/v1beta1": tc.beta, "extensions/v1beta1": tc.beta} {
				text := "apiVersion: " + version + "\nkind: Ingress\n" + body
				if flow, ok := strings.CutPrefix(body, "{"); ok {
					text = "{apiVersion: " + version + ", kind: Ingress, " + strings.ReplaceAll(flow, "\t", " ")
				}
				if diff := cmp.Diff(tc.want, converted(t, text)); diff != "" {
					t.Errorf("%s, %s: -want +got:\n%s", tc.reason, version, diff)
				}
			}
		})
	}
	if _, err := IngressFrom(&corev1.Service{}); err == nil {
		t.Error("a Service is no Ingress: want an error")
	}
}
