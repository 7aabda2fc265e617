package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// victims are how many pods a fault strikes in a round, of different sites.
const victims = 4

// serving draws pods that serve, one of each of some sites.
func (s *stage) serving(dice *rand.Rand, n int) []life {
	var out []life
	for _, i := range dice.Perm(len(s.sites))[:n] {
		all := slices.DeleteFunc(s.watch.of(s.sites[i].name), func(l life) bool { return !l.serves() })
		if len(all) > 0 {
			out = append(out, all[dice.IntN(len(all))])
		}
	}
	return out
}

func full(l life) string { return l.pod.Namespace + "/" + l.pod.Name }

// each does something to victims, one after the other over some seconds. A pod that has
// gone meanwhile is no error.
func each(do func(context.Context, *stage, life) error) play {
	return func(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
		wait(ctx, dice, 0, 4*time.Second)
		for _, l := range s.serving(dice, victims) {
			if now, _ := s.watch.life(string(l.pod.UID)); !now.serves() {
				continue
			}
			switch err := do(context.WithoutCancel(ctx), s, l); {
			case err == nil:
				met++
			case !errors.Is(err, errGone) && !apierrors.IsNotFound(err):
				return met, fmt.Errorf("%s: %w", full(l), err)
			}
			wait(ctx, dice, 500*time.Millisecond, 2*time.Second)
		}
		return met, nil
	}
}

// errGone is a pod that went by itself.
var errGone = errors.New("it has gone")

// strikePods ends containers without a word.
func strikePods(what, do string) play {
	return each(func(ctx context.Context, s *stage, l life) error {
		s.book.struck(string(l.pod.UID), what)
		return s.Faults.Do(ctx, fault.Act{Do: do, Pod: full(l)})
	})
}

// forceDelete deletes pods as kubectl delete --force --grace-period=0 does.
var forceDelete = each(func(ctx context.Context, s *stage, l life) error {
	s.book.struck(string(l.pod.UID), "a deletion by force")
	return s.delete(ctx, l, 0)
})

func (s *stage) delete(ctx context.Context, l life, grace int64) error {
	return s.client.CoreV1().Pods(namespace).Delete(ctx, l.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &l.pod.UID},
	})
}

// evict evicts pods for their nodes' memory, with time for hooks.
var evict = each(func(ctx context.Context, s *stage, l life) error {
	return s.Faults.Do(ctx, fault.Act{Do: fault.EvictPod, Pod: full(l), GraceSeconds: 40})
})

// failLiveness has liveness probes fail until the containers are stopped.
var failLiveness = each(func(ctx context.Context, s *stage, l life) error {
	if err := s.annotate(ctx, l, `"liveness"`); err != nil {
		return err
	}
	began := time.Now()
	err := setting.Await(ctx, "the container to be stopped", func() (bool, error) {
		now, _ := s.watch.life(string(l.pod.UID))
		return now.gone || now.pod.DeletionTimestamp != nil || slices.ContainsFunc(s.Nodes.Moments(l.pod.UID), func(m node.Moment) bool {
			return m.What == node.HookBegan && m.At.After(began)
		}), nil
	})
	return errors.Join(err, s.annotate(ctx, l, "null"))
})

// annotate sets which probes of a pod fail.
func (s *stage) annotate(ctx context.Context, l life, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, node.AnnotationPrefix+node.KeyFailProbe, value)
	_, err := s.client.CoreV1().Pods(namespace).Patch(ctx, l.pod.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return errGone
	}
	return err
}

// anyNode draws a node.
func anyNode(dice *rand.Rand) string {
	return fmt.Sprintf("%s%d", node.DefaultNamePrefix, 1+dice.IntN(nodes))
}

// shutDown shuts a node down gracefully, and boots it again.
func shutDown(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
	wait(ctx, dice, 0, 6*time.Second)
	ctx = context.WithoutCancel(ctx)
	name := anyNode(dice)
	if err := s.Faults.Do(ctx, fault.Act{Do: fault.ShutDownNode, Node: name, GraceSeconds: 40}); err != nil {
		return 0, err
	}
	return 1, s.Faults.Do(ctx, fault.Act{Do: fault.BootNode, Node: name})
}

// vanish takes a node away, has what ran there deleted by force as who finds it gone does,
// and boots it again.
func vanish(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
	wait(ctx, dice, 0, 6*time.Second)
	ctx = context.WithoutCancel(ctx)
	name := anyNode(dice)
	there := func() []life {
		return slices.DeleteFunc(s.watch.of(""), func(l life) bool { return l.pod.Spec.NodeName != name })
	}
	for _, l := range there() {
		s.book.struck(string(l.pod.UID), "its node going")
	}
	if err := s.Faults.Do(ctx, fault.Act{Do: fault.VanishNode, Node: name}); err != nil {
		return 0, err
	}
	wait(ctx, dice, 2*time.Second, 4*time.Second)
	for _, l := range there() {
		s.book.struck(string(l.pod.UID), "its node going")
		if err := s.delete(ctx, l, 0); err != nil && !apierrors.IsNotFound(err) {
			return 1, err
		}
	}
	return 1, s.Faults.Do(ctx, fault.Act{Do: fault.BootNode, Node: name})
}

// killFunctions kills whatever runs of the functions, several times.
func killFunctions(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
	for range 6 {
		wait(ctx, dice, 500*time.Millisecond, 3*time.Second)
		// Nothing runs of one that has nothing to do.
		for _, f := range []string{"frontend", "backends", "readiness"} {
			if s.Faults.Do(ctx, fault.Act{Do: fault.KillFunction, Function: f}) == nil {
				met++
			}
		}
	}
	return met, nil
}

// killForwarders kills one replica and, when it is back, the other.
func killForwarders(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
	return s.endForwarders(ctx, dice, syscall.SIGKILL)
}

// restartForwarders is a rolling update of the replicas.
func restartForwarders(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
	return s.endForwarders(ctx, dice, syscall.SIGTERM)
}

func (s *stage) endForwarders(ctx context.Context, dice *rand.Rand, sig syscall.Signal) (met int, err error) {
	for i := range 2 {
		wait(ctx, dice, 2*time.Second, 6*time.Second)
		if sig == syscall.SIGKILL {
			s.book.killed()
		}
		if err := s.forwarders.end(i, sig); err != nil {
			return met, err
		}
		met++
		if err := s.forwarders.start(context.WithoutCancel(ctx), i); err != nil {
			return met, err
		}
	}
	return met, nil
}
