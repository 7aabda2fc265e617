package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// home is the namespace of everything of ours in the cluster.
const home = "clb-direct-system"

// checkCluster asks the API server, as the functions and as an administrator.
func checkCluster(ctx context.Context, o options, in given, s *sheet) {
	config := rest.CopyConfig(in.config.Kube)
	config.Timeout, config.QPS = 20*time.Second, -1
	functions, err := kubernetes.NewForConfig(config)
	if err == nil {
		var v any
		if v, err = functions.Discovery().ServerVersion(); err == nil {
			s.line(ok, "cluster", fmt.Sprintf("%s answers: %v", config.Host, v), "")
		}
	}
	if err != nil {
		s.line(wrong, "cluster", err.Error(), "KUBE_SERVER must be the intranet endpoint, reached from SUBNET_ID (and from here, for this check); KUBE_CA its CA")
	} else {
		checkRights(ctx, o, functions, s)
	}
	if o.kubeconfig == "" {
		for _, what := range []string{"forwarder", "webhook", "drain address", "other controllers"} {
			s.line(skipped, what, "no -kubeconfig was named", "")
		}
		return
	}
	admin, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		s.line(wrong, "kubeconfig", err.Error(), "name a kubeconfig file of a cluster administrator")
		return
	}
	admin.Timeout, admin.QPS = 20*time.Second, -1
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		s.line(wrong, "kubeconfig", err.Error(), "name a kubeconfig file of a cluster administrator")
		return
	}
	c := &clusterCheck{options: o, in: in, sheet: s, client: client, config: admin}
	c.forwarder(ctx)
	c.claimed(ctx)
	c.webhook(ctx)
	c.drain(ctx)
	c.others(ctx)
}

// checkRights asks about each right of the functions' roles, with their token.
func checkRights(ctx context.Context, o options, client kubernetes.Interface, s *sheet) {
	roles, err := rolesOf(filepath.Join(o.root, "infra/manifests/10-functions-rbac.yaml"))
	if err != nil {
		s.line(wrong, "permissions (Kubernetes)", err.Error(), "name the module's directory with -root")
		return
	}
	asked, missing := 0, 0
	for _, role := range roles {
		for _, rule := range role.Rules {
			for _, a := range attributes(rule, role.Namespace) {
				review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
				got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
				if err != nil {
					s.line(wrong, "KUBE_TOKEN", err.Error(), "KUBE_TOKEN must be a token of ServiceAccount functions that is valid: kubectl -n "+home+" get secret functions-token")
					return
				}
				if asked++; !got.Status.Allowed {
					missing++
					s.line(wrong, "right "+a.Verb+" "+a.Resource, fmt.Sprintf("is missing (group %q, %s)", a.Group, strings.TrimSuffix(a.Resource+"/"+a.Subresource, "/")), "install the chart, or apply infra/manifests/10-functions-rbac.yaml, of this version")
				}
			}
		}
	}
	if missing == 0 {
		s.line(ok, "permissions (Kubernetes)", fmt.Sprintf("all %d rights of the functions' roles", asked), "")
	}
}

// rolesOf reads the roles of a manifest.
func rolesOf(path string) ([]rbacv1.Role, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the roles: %w", err)
	}
	var out []rbacv1.Role
	for doc := range strings.SplitSeq(string(raw), "\n---") {
		var r rbacv1.Role
		if err := yaml.Unmarshal([]byte(doc), &r); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if len(r.Rules) > 0 {
			out = append(out, r)
		}
	}
	return out, nil
}

// attributes are what a rule speaks of, one by one.
func attributes(rule rbacv1.PolicyRule, namespace string) []authorizationv1.ResourceAttributes {
	var out []authorizationv1.ResourceAttributes
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			resource, sub, _ := strings.Cut(resource, "/")
			for _, verb := range rule.Verbs {
				for _, name := range names {
					out = append(out, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: sub, Name: name})
				}
			}
		}
	}
	return out
}
