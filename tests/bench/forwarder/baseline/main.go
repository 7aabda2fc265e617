// Command baseline is a forwarder with the semantics of Knative's ApiServerSource adapter
// (knative/eventing 8cf4c4b): a reflector over a store that holds nothing, one synchronous
// request an event, up to five retries, and what exists already is not told.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var retried = []int{404, 413, 425, 429, 502, 503, 504} // CloudEvents SDK, protocol/http

// sender is the reflector's store.
type sender struct{ sink string }

func (s sender) Add(o any) error             { return s.send("add", o) }
func (s sender) Update(o any) error          { return s.send("update", o) }
func (s sender) Delete(o any) error          { return s.send("delete", o) }
func (s sender) Replace([]any, string) error { return nil } // the initial list is not told
func (s sender) Resync() error               { return nil }

func (s sender) send(kind string, o any) error {
	u := o.(*unstructured.Unstructured)
	body, err := json.Marshal(u)
	for wait := 100 * time.Millisecond; err == nil; wait *= 2 {
		var status int
		if status, err = s.post(kind, u, body); err == nil && !slices.Contains(retried, status) || wait > 1600*time.Millisecond {
			return nil // delivered, or dropped
		}
		err = nil
		time.Sleep(wait)
	}
	return nil
}

func (s sender) post(kind string, u *unstructured.Unstructured, body []byte) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.sink, bytes.NewReader(body))
	for k, v := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": uuid.NewString(), "Ce-Source": "baseline",
		"Ce-Type": "dev.knative.apiserver.resource." + kind, "Ce-Subject": "/apis/v1/namespaces/" + u.GetNamespace() + "/pods/" + u.GetName()} {
		q.Header.Set(k, v)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	return a.StatusCode, a.Body.Close()
}

func main() {
	kubeconfig, sink := flag.String("kubeconfig", "", "kubeconfig file"), flag.String("sink", "", "where events go")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
	pods := dynamic.NewForConfigOrDie(config).Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	lw := &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return pods.Watch(ctx, o) },
	}
	cache.NewReflector(lw, &unstructured.Unstructured{}, sender{*sink}, 10*time.Hour).RunWithContext(context.Background())
}
