// Package watch follows pods, for demos and suites that look on.
package watch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Pods has seen told of every version of the pods of a namespace, one at a time, gone with
// the last one, until stop is called, which waits until nothing more is told, or ctx ends.
func Pods(ctx context.Context, client kubernetes.Interface, namespace string, seen func(pod *corev1.Pod, gone bool)) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	tell := func(obj any, gone bool) {
		if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = tomb.Obj
		}
		if pod, ok := obj.(*corev1.Pod); ok {
			seen(pod, gone)
		}
	}
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { tell(obj, false) },
		UpdateFunc: func(_, obj any) { tell(obj, false) },
		DeleteFunc: func(obj any) { tell(obj, true) },
	}); err != nil {
		cancel()
		return nil, fmt.Errorf("watching pods: %w", err)
	}
	factory.Start(ctx.Done())
	return func() {
		cancel()
		factory.Shutdown()
	}, nil
}

// PodsAnd is Pods, and calls look every so often besides, for what nobody tells of.
func PodsAnd(ctx context.Context, client kubernetes.Interface, namespace string, seen func(pod *corev1.Pod, gone bool), every time.Duration, look func()) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	end, err := Pods(ctx, client, namespace, seen)
	if err != nil {
		cancel()
		return nil, err
	}
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	})
	return func() {
		cancel()
		end()
		looking.Wait()
	}, nil
}

// Is says whether a condition of a pod is True.
func Is(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}
