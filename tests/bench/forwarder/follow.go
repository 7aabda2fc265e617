package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	corev1 "k8s.io/api/core/v1"
)

// follower is a bare watch: when it sees a change, anybody could have.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	seen map[string]told
}

// follow watches the metadata of all pods.
func (b *bench) follow(ctx context.Context, _ []*key) (*follower, error) {
	client, err := metadata.NewForConfig(metadata.ConfigFor(b.cluster.RESTConfig()))
	if err != nil {
		return nil, fmt.Errorf("making the bare watch: %w", err)
	}
	pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("beginning the bare watch: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("beginning the bare watch: %w", err)
	}
	f := &follower{cancel: cancel, done: make(chan struct{}), seen: map[string]told{}}
	go func() {
		defer close(f.done)
		defer w.Stop()
		for e := range w.ResultChan() {
			at := time.Now()
			if m, ok := e.Object.(*metav1.PartialObjectMetadata); ok {
				f.mu.Lock()
				note(f.seen, string(m.UID), told{number(m.ResourceVersion), at, false})
				f.mu.Unlock()
			}
		}
	}()
	return f, nil
}

// when tells when the watch saw the key's last state.
func (f *follower) when(k *key) (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.seen[string(k.uid)]
	return t.at, t.version >= k.version && t.version > 0
}

func (f *follower) stop() {
	f.cancel()
	<-f.done
}
