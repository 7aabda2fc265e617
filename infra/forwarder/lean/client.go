package lean

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// NewClient makes a client of the core API that reads pods leanly.
func NewClient(config *rest.Config) (rest.Interface, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = newSerializer()
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("making the client for pods: %w", err)
	}
	return client, nil
}

// serializer is client-go's own, but for how pods are decoded.
type serializer struct {
	runtime.NegotiatedSerializer
	types []runtime.SerializerInfo
}

func newSerializer() runtime.NegotiatedSerializer {
	s := &serializer{NegotiatedSerializer: scheme.Codecs.WithoutConversion()}
	for _, t := range s.NegotiatedSerializer.SupportedMediaTypes() {
		if t.MediaType == runtime.ContentTypeProtobuf {
			t.Serializer = struct {
				runtime.Encoder
				runtime.Decoder
			}{t.Serializer, &decoder{next: t.Serializer}}
		}
		s.types = append(s.types, t)
	}
	return s
}

// SupportedMediaTypes are client-go's.
func (s *serializer) SupportedMediaTypes() []runtime.SerializerInfo { return s.types }
