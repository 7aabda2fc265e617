package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	// WebhookName names the webhook within its configuration.
	WebhookName = "gate.webhook.clb-direct.io"
	// AgainName names the webhook that is asked once more, where the first was not answered:
	// by a replica that was killed meanwhile, as it fails open. The pod would have no drain
	// hook for all of its life.
	AgainName = "again.webhook.clb-direct.io"
	// unanswered is the condition for it: what the first gives is not there.
	unanswered = "!has(object.metadata.annotations) || !('" + model.DrainToken + "' in object.metadata.annotations)"
	// nowhere is a namespace that can't exist: an empty list would match them all.
	nowhere = "no_namespace"
	// Leaving is an annotation of the configuration: when an uninstall began (RFC 3339).
	Leaving = "clb-direct.io/leaving"
	// leaving is how long that counts: an uninstall that failed without taking it back
	// must not keep pods from their gates for ever.
	leaving = 10 * time.Minute
	// timeoutSeconds and againSeconds are what a pod's creation waits for us at most, the
	// first time and the second.
	timeoutSeconds, againSeconds = 3, 2
)

// linger is how long a namespace stays registered after the last claimed object
// in it has gone; also how long a replica's view may lag behind another's.
const linger = time.Minute

// Registration keeps the MutatingWebhookConfiguration: how the API server reaches
// us, and for which namespaces. Every replica adds what it sees at once; only the
// leader takes away, and not at once, so that replicas with caches of different age
// don't undo each other's work.
type Registration struct {
	Client kubernetes.Interface
	// Name of the configuration.
	Name string
	// URL, if set, is how the API server reaches us; else Service is.
	URL     string
	Service admissionregistrationv1.ServiceReference
	// Owner is the ClusterRole that the configuration goes with, so that an uninstall
	// leaves none behind; "" for nothing.
	Owner string
	// Namespaces are those with something claimed.
	Namespaces func() []string
	// Leading tells whether this replica may take namespaces away.
	Leading func() bool
	Now     func() time.Time

	// last is the configuration as last seen, absent since when each registered
	// namespace has had nothing claimed.
	last   *admissionregistrationv1.MutatingWebhookConfiguration
	absent map[string]time.Time
	// plain: the API server is too old for conditions (before 1.28), so that AgainName
	// would be called always; there is none then.
	plain bool
}

// Ensure makes the configuration as it should be, trusting authority. Not safe for
// concurrent use.
func (r *Registration) Ensure(ctx context.Context, authority []byte) error {
	for range 5 {
		err := r.ensure(ctx, authority)
		if err == nil {
			return nil
		}
		r.last = nil
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return errors.New("keeping the webhook configuration: others change it all the time")
}

// Forget has the next Ensure read the configuration again: somebody else may have
// changed it.
func (r *Registration) Forget() { r.last = nil }

func (r *Registration) ensure(ctx context.Context, authority []byte) error {
	configurations := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if r.last == nil {
		had, err := configurations.Get(ctx, r.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return r.create(ctx, authority)
		}
		if err != nil {
			return fmt.Errorf("reading webhook configuration %s: %w", r.Name, err)
		}
		r.last = had
	}
	namespaces := r.namespaces(registered(r.last))
	if r.left(r.last) {
		namespaces = []string{nowhere}
	}
	want := r.webhooks(trusted(r.last, authority), namespaces)
	owners, err := r.owners(ctx)
	if err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(r.last.Webhooks, want) && equality.Semantic.DeepEqual(r.last.OwnerReferences, owners) {
		return nil
	}
	next := r.last.DeepCopy()
	next.Webhooks, next.OwnerReferences = want, owners
	now, err := configurations.Update(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("writing webhook configuration %s: %w", r.Name, err)
	}
	return r.took(ctx, now, authority)
}

// took takes over the configuration as the API server has it after a write.
func (r *Registration) took(ctx context.Context, now *admissionregistrationv1.MutatingWebhookConfiguration, authority []byte) error {
	r.last = now
	for _, w := range now.Webhooks {
		if w.Name == AgainName && len(w.MatchConditions) == 0 {
			r.plain = true
			return r.ensure(ctx, authority)
		}
	}
	return nil
}

func (r *Registration) create(ctx context.Context, authority []byte) error {
	owners, err := r.owners(ctx)
	if err != nil {
		return err
	}
	made, err := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: map[string]string{"app.kubernetes.io/part-of": "clb-direct"}, OwnerReferences: owners},
		Webhooks:   r.webhooks(authority, r.namespaces(nil)),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating webhook configuration %s: %w", r.Name, err)
	}
	return r.took(ctx, made, authority)
}

// owners refer to the ClusterRole, if it is there: the garbage collector takes the
// configuration with it. Nothing waits for anything, so no right over its finalizers is
// needed.
func (r *Registration) owners(ctx context.Context) ([]metav1.OwnerReference, error) {
	if r.Owner == "" {
		return nil, nil
	}
	role, err := r.Client.RbacV1().ClusterRoles().Get(ctx, r.Owner, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ClusterRole %s: %w", r.Owner, err)
	}
	return []metav1.OwnerReference{{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: role.Name, UID: role.UID}}, nil
}

// MatchNothing has a configuration speak of no namespace.
func MatchNothing(c *admissionregistrationv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		c.Webhooks[i].NamespaceSelector = selecting([]string{nowhere})
	}
}

// selecting selects namespaces by name.
func selecting(namespaces []string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: namespaces,
	}}}
}

// left tells whether an uninstall is under way.
func (r *Registration) left(c *admissionregistrationv1.MutatingWebhookConfiguration) bool {
	began, err := time.Parse(time.RFC3339, c.Annotations[Leaving])
	return err == nil && r.Now().Sub(began) < leaving
}

// namespaces are those that should be registered, given those that are. Sorted,
// and never empty.
func (r *Registration) namespaces(had []string) []string {
	out := r.Namespaces()
	if r.absent == nil {
		r.absent = map[string]time.Time{}
	}
	now := r.Now()
	for _, ns := range out {
		delete(r.absent, ns)
	}
	for _, ns := range had {
		if ns == nowhere || slices.Contains(out, ns) {
			continue
		}
		if _, ok := r.absent[ns]; !ok {
			r.absent[ns] = now
		}
		if r.Leading() && now.Sub(r.absent[ns]) >= linger {
			delete(r.absent, ns)
			continue
		}
		out = append(out, ns)
	}
	if len(out) == 0 {
		return []string{nowhere}
	}
	slices.Sort(out)
	return out
}

// webhooks is the configuration in full, defaults included, so that it can be
// compared with what the API server has.
func (r *Registration) webhooks(authority []byte, namespaces []string) []admissionregistrationv1.MutatingWebhook {
	client := admissionregistrationv1.WebhookClientConfig{CABundle: authority}
	if r.URL != "" {
		client.URL = new(r.URL)
	} else {
		client.Service = r.Service.DeepCopy()
	}
	first := admissionregistrationv1.MutatingWebhook{
		Name:         WebhookName,
		ClientConfig: client,
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				Scope: new(admissionregistrationv1.NamespacedScope),
			},
		}},
		FailurePolicy:     new(admissionregistrationv1.Ignore),
		MatchPolicy:       new(admissionregistrationv1.Equivalent),
		NamespaceSelector: selecting(namespaces),
		ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: model.AdmissionLabel, Operator: metav1.LabelSelectorOpNotIn, Values: []string{model.AdmissionOff},
		}}},
		SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
		TimeoutSeconds:          new(int32(timeoutSeconds)),
		AdmissionReviewVersions: []string{"v1", "v1beta1"},
		ReinvocationPolicy:      new(admissionregistrationv1.IfNeededReinvocationPolicy),
	}
	if r.plain {
		return []admissionregistrationv1.MutatingWebhook{first}
	}
	again := *first.DeepCopy()
	again.Name, again.TimeoutSeconds = AgainName, new(int32(againSeconds))
	again.MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "unanswered", Expression: unanswered}}
	return []admissionregistrationv1.MutatingWebhook{first, again}
}

// trusted is authority, or what the configuration trusts if that holds it already:
// a replica that hasn't seen a new authority must not take it away.
func trusted(c *admissionregistrationv1.MutatingWebhookConfiguration, authority []byte) []byte {
	for _, w := range c.Webhooks {
		if w.Name == WebhookName && bytes.Contains(w.ClientConfig.CABundle, authority) {
			return w.ClientConfig.CABundle
		}
	}
	return authority
}

// registered are the namespaces of a configuration.
func registered(c *admissionregistrationv1.MutatingWebhookConfiguration) []string {
	for _, w := range c.Webhooks {
		if w.Name != WebhookName || w.NamespaceSelector == nil {
			continue
		}
		for _, e := range w.NamespaceSelector.MatchExpressions {
			if e.Key == corev1.LabelMetadataName && e.Operator == metav1.LabelSelectorOpIn {
				return e.Values
			}
		}
	}
	return nil
}
