package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// kinds are what people call the kinds that can be asked about.
var kinds = map[string]model.Kind{
	"service": model.KindService, "services": model.KindService, "svc": model.KindService,
	"ingress": model.KindIngress, "ingresses": model.KindIngress, "ing": model.KindIngress,
	"pod": model.KindPod, "pods": model.KindPod, "po": model.KindPod,
}

// explain has the function explain of the running stack say why an object's pods are
// ready or not, as text or as JSON.
func explain(ctx context.Context, root, object string, asJSON bool, w io.Writer) error {
	ref, err := parseObject(object)
	if err != nil {
		return err
	}
	r, err := ask(ctx, root, event.Explain, event.Sync{Objects: []event.Ref{ref}})
	if err != nil {
		return err
	}
	return sayExplanation(w, r, asJSON)
}

// parseObject reads kind/namespace/name.
func parseObject(object string) (event.Ref, error) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 || kinds[strings.ToLower(parts[0])] == "" || parts[1] == "" || parts[2] == "" {
		return event.Ref{}, fmt.Errorf("the object is %q, must be service/NAMESPACE/NAME, ingress/NAMESPACE/NAME or pod/NAMESPACE/NAME: `make explain OBJ=service/default/nginx`", object)
	}
	return event.Ref{Kind: kinds[strings.ToLower(parts[0])], Namespace: parts[1], Name: parts[2]}, nil
}

// sayExplanation writes what the function answered.
func sayExplanation(w io.Writer, r event.Reply, asJSON bool) error {
	switch {
	case r.Failure != nil:
		return fmt.Errorf("%s: %s", r.Failure.Kind, r.Failure.Message)
	case r.Explanation == nil:
		return fmt.Errorf("the function explain answered without an explanation")
	case asJSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r.Explanation)
	}
	_, err := io.WriteString(w, r.Explanation.Text())
	return err
}
