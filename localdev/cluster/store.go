package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// Put writes an object where the API server keeps it, past the API server: what takes
// minutes over the API takes seconds so, and it can be done while there is no API server.
// It gives the object's resourceVersion. resource is as in the object's URL ("pods"); the
// object has its apiVersion and kind set, a uid, and is as the API server would have
// stored it. It is an error with a cluster of somebody else's.
func (c *Cluster) Put(ctx context.Context, resource, namespace, name string, o runtime.Object) (version uint64, err error) {
	if c.etcd == "" {
		return 0, errors.New("writing to etcd: it is not ours")
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b); err != nil {
		return 0, fmt.Errorf("encoding %s/%s: %w", namespace, name, err)
	}
	return c.write(ctx, "/v3/kv/put", map[string]any{"key": storeKey(resource, namespace, name), "value": b.Bytes()})
}

// Remove deletes an object as Put writes one.
func (c *Cluster) Remove(ctx context.Context, resource, namespace, name string) (version uint64, err error) {
	if c.etcd == "" {
		return 0, errors.New("deleting from etcd: it is not ours")
	}
	return c.write(ctx, "/v3/kv/deleterange", map[string]any{"key": storeKey(resource, namespace, name)})
}

func storeKey(resource, namespace, name string) string {
	return base64.StdEncoding.EncodeToString([]byte("/registry/" + resource + "/" + namespace + "/" + name))
}

func (c *Cluster) write(ctx context.Context, path string, body any) (uint64, error) {
	var at struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.askEtcd(ctx, path, body, &at); err != nil {
		return 0, fmt.Errorf("writing to etcd: %w", err)
	}
	version, err := strconv.ParseUint(at.Header.Revision, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading etcd's revision: %w", err)
	}
	return version, nil
}
