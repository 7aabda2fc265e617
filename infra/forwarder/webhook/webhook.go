// Package webhook gives a pod that a claimed Service selects, or one behind a claimed
// Ingress, its readiness gate, at its creation: a mutating admission webhook with a certificate of its own and a
// registration that it keeps itself. When in doubt it allows: a pod without a gate is
// a loss, a pod that can't be created is worse.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/shared/admission"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Path is where reviews are taken.
const Path = "/mutate"

// maxReview bounds a review: the API server takes objects of at most 3 MB.
const maxReview = 8 << 20

// Decision is what was made of a review, for metrics.
type Decision string

// The decisions.
const (
	// Gated: the pod got its gate. Had: it came with one. Unselected: nothing claimed
	// selects it.
	Gated, Had, Unselected Decision = "gated", "had", "unselected"
	// Other: not a pod's creation. Malformed: not a review.
	Other, Malformed Decision = "other", "malformed"
	// Unknown: the cache knew no match and the API server didn't tell.
	Unknown Decision = "unknown"
)

// Handler answers reviews.
type Handler struct {
	// Claims tells, from the cache, whether a claimed Service, or one behind a claimed
	// Ingress, selects labels.
	Claims func(namespace string, labels map[string]string) bool
	// Fresh gives such Services of a namespace as the API server has them now; the
	// cache may be a moment behind one made just before its pods.
	Fresh func(ctx context.Context, namespace string) ([]model.Service, error)
	// Drain is where drain hooks lead, with a token of their own for each call; false
	// while that isn't known, or hooks aren't wanted.
	Drain func() (admission.Drain, bool)
	// Count is told every decision.
	Count func(Decision)
	Log   *slog.Logger
}

// pod is what a decision needs of one.
type pod struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ReadinessGates []struct {
			ConditionType string `json:"conditionType"`
		} `json:"readinessGates"`
		TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds"`
		Containers                    []struct {
			Name      string            `json:"name"`
			Lifecycle *corev1.Lifecycle `json:"lifecycle"`
		} `json:"containers"`
	} `json:"spec"`
}

// admitted is the pod as the decision sees it.
func (p *pod) admitted(namespace string) admission.Pod {
	out := admission.Pod{Namespace: namespace, Annotations: p.Metadata.Annotations, Grace: corev1.DefaultTerminationGracePeriodSeconds}
	if grace := p.Spec.TerminationGracePeriodSeconds; grace != nil {
		out.Grace = *grace
	}
	for _, g := range p.Spec.ReadinessGates {
		out.Gates = append(out.Gates, g.ConditionType)
	}
	for _, c := range p.Spec.Containers {
		at := admission.Container{Name: c.Name, Lifecycle: c.Lifecycle != nil}
		if at.Lifecycle && c.Lifecycle.PreStop != nil {
			get := c.Lifecycle.PreStop.HTTPGet
			at.PreStop, at.Ours = true, get != nil && get.Host != "" && strings.HasPrefix(get.Path, model.DrainPath)
		}
		out.Containers = append(out.Containers, at)
	}
	return out
}

// ServeHTTP answers one review, in the version it came in: v1 and v1beta1 differ in
// name only (admission.k8s.io).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		h.Count(Malformed)
		http.Error(w, "reading the review: "+err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		h.Count(Malformed)
		http.Error(w, "the body is not an AdmissionReview with a request", http.StatusBadRequest)
		return
	}
	patch, decision := h.decide(r.Context(), review.Request)
	h.Count(decision)
	answer := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if len(patch) > 0 {
		raw, err := json.Marshal(patch)
		if err != nil { // strings and a slice of them always marshal
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		kind := admissionv1.PatchTypeJSONPatch
		answer.Patch, answer.PatchType = raw, &kind
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer}); err != nil {
		h.Log.Warn("answering review", "error", err)
	}
}

func (h *Handler) decide(ctx context.Context, r *admissionv1.AdmissionRequest) ([]admission.Operation, Decision) {
	if r.Operation != admissionv1.Create || r.SubResource != "" || r.Resource != (metav1.GroupVersionResource{Version: "v1", Resource: "pods"}) {
		return nil, Other
	}
	var p pod
	if err := json.Unmarshal(r.Object.Raw, &p); err != nil {
		return nil, Malformed
	}
	selected := h.Claims(r.Namespace, p.Metadata.Labels)
	if !selected {
		services, err := h.Fresh(ctx, r.Namespace)
		for i := range services {
			selected = selected || services[i].Selects(r.Namespace, p.Metadata.Labels)
		}
		if err != nil && !selected {
			h.Log.Warn("listing what is claimed", "namespace", r.Namespace, "error", err)
			return nil, Unknown
		}
	}
	if !selected {
		return nil, Unselected
	}
	admitted := p.admitted(r.Namespace)
	patch, decision := admission.Gate(admitted), Gated
	if admitted.HasGate() {
		decision = Had
	}
	if drain, ok := h.Drain(); ok {
		patch = append(patch, admission.Hook(admitted, drain)...)
	}
	return patch, decision
}

// errNoAnswer is what a caller gets that gives up on a list.
var errNoAnswer = errors.New("no answer in time")

func noAnswer(ctx context.Context) error {
	return fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
}
