// Package leave makes the forwarder's end harmless: no pod gets a readiness gate any
// more, and none is left waiting for one that nobody would decide.
package leave

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/clb-direct/clb-direct/infra/forwarder/webhook"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Options say what is left.
type Options struct {
	Client kubernetes.Interface
	// Configuration is the webhook's, Policy the binding of the admission policy that
	// gives gates; either may not be there.
	Configuration, Policy string
	// Timeout bounds the wait, Every is the time between two looks; default 1 s.
	Timeout, Every time.Duration
	Now            func() time.Time
	// Say is told what is waited for.
	Say func(waiting []string)
}

// Run stops gates from being given, then waits until every one that was has been met. When
// that takes too long gates are given again, and the error names the pods.
//
//  1. the webhook's configuration is told that we leave and matches nothing: for some
//     minutes every replica leaves it so, however often it mends it
//  2. the policy's binding goes: what replaces this release brings it back
//  3. pods admitted before are met, by those who are still there
func Run(ctx context.Context, o Options) error {
	if o.Every == 0 {
		o.Every = time.Second
	}
	if err := o.announce(ctx, o.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	err := o.Client.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Delete(ctx, o.Policy, metav1.DeleteOptions{})
	// A server that doesn't know the kind says the same as one without the object.
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting admission policy binding %s: %w", o.Policy, err)
	}
	waiting, err := o.await(ctx)
	if err == nil && len(waiting) == 0 {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("these pods wait for their readiness gate, and would for ever: %s; make them ready, or delete them, or leave without waiting (helm uninstall --no-hooks)", strings.Join(waiting, ", "))
	}
	if again := o.announce(context.WithoutCancel(ctx), ""); again != nil {
		return fmt.Errorf("%w; and taking the announcement back: %w", err, again)
	}
	return err
}

// announce writes when we began to leave and has the webhook match nothing, or takes the
// word back: then the forwarder has it match again.
func (o Options) announce(ctx context.Context, at string) error {
	configurations := o.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		c, err := configurations.Get(ctx, o.Configuration, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if at == "" {
			delete(c.Annotations, webhook.Leaving)
		} else {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, webhook.Leaving, at)
			webhook.MatchNothing(c)
		}
		_, err = configurations.Update(ctx, c, metav1.UpdateOptions{})
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("announcing at webhook configuration %s that we leave: %w", o.Configuration, err)
	}
	return nil
}

// settled is how long no pod must have waited: one that was admitted before the
// announcement may still be on its way into the list.
const settled = 3

func (o Options) await(ctx context.Context) (waiting []string, err error) {
	deadline := o.Now().Add(o.Timeout)
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for calm := 0; ; {
		waiting, err = o.waiting(ctx)
		switch {
		case err == nil && len(waiting) == 0:
			if calm++; calm == settled {
				return nil, nil
			}
		case !o.Now().Before(deadline):
			return waiting, err
		default:
			calm = 0
			o.Say(waiting)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return waiting, ctx.Err()
		}
	}
}

// waiting lists pods with a gate of ours that isn't met, page by page.
func (o Options) waiting(ctx context.Context) ([]string, error) {
	var out []string
	opts := metav1.ListOptions{Limit: 500}
	for {
		list, err := o.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("listing pods: %w", err)
		}
		for i := range list.Items {
			if waits(&list.Items[i]) {
				out = append(out, list.Items[i].Namespace+"/"+list.Items[i].Name)
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			slices.Sort(out)
			return out, nil
		}
	}
}

func waits(p *corev1.Pod) bool {
	gated := slices.ContainsFunc(p.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == model.GateType })
	met := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == model.GateType && c.Status == corev1.ConditionTrue
	})
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
	return gated && !met && !over
}
