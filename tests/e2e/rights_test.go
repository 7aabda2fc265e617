package e2e

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/localdev/cam"
)

// unexercised tells why a right is needed that this suite can't be sure to use; "" for one
// that it must.
func unexercised(r right) string {
	switch {
	case r.group == "extensions":
		return "Ingresses of Kubernetes before 1.22, which this server doesn't have"
	case r.user == "forwarder" && r.verb == "list":
		return "watches begin with the list where the server can do that"
	case r.resource == "services" && r.name == "clb-direct-drain":
		return "the stack's drain address is no Service's"
	case r.verb == "update" && r.resource == "secrets":
		return "certificates are renewed when months have passed"
	case r.resource == "events" && r.verb != "create":
		return "only what is said again is counted"
	case r.user == "forwarder" && (r.resource == "pods/status" || r.resource == "events"):
		return "gates are opened by policy in tests that some runs leave out"
	}
	return ""
}

// right is one that is granted: a verb on a resource of a group, by name or for all.
type right struct{ user, verb, group, resource, name string }

func (r right) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s/%s %s", r.user, r.verb, r.group, r.resource, r.name))
}

// request is a line of the API server's audit log, as far as it matters here.
type request struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef *struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
}

// rights compares, when every test has run, what is granted with what was used: what
// nobody used is to be granted no more, and what was refused is missing. It tells what is
// wrong, nothing where only some tests ran.
func (e *env) rights() []string {
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" || *profileFlag != "" {
		return nil
	}
	granted, err := grantedRights()
	if err != nil {
		return []string{err.Error()}
	}
	refused, used, err := e.used()
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	for _, r := range refused {
		// While the API server comes up again after a crash it refuses everything.
		if all := (right{r.user, r.verb, r.group, r.resource, ""}); !slices.Contains(granted, r) && !slices.Contains(granted, all) {
			wrong = append(wrong, "used and not granted: "+r.String())
		}
	}
	for _, r := range granted {
		if unexercised(r) == "" && !used[r] {
			wrong = append(wrong, "granted and never used: "+r.String())
		}
	}
	actions := map[string]bool{}
	for action := range e.CLB.CallCounts() {
		actions["clb:"+action] = true
	}
	raw, err := os.ReadFile("../../infra/cam/functions.json")
	if err != nil {
		return append(wrong, err.Error())
	}
	if _, err := cam.Parse(raw); err != nil {
		wrong = append(wrong, err.Error())
	}
	var policy struct {
		Statement []struct{ Action []string }
	}
	if err := json.Unmarshal(raw, &policy); err != nil {
		return append(wrong, err.Error())
	}
	for _, s := range policy.Statement {
		for _, a := range s.Action {
			if !actions[a] {
				wrong = append(wrong, "allowed by infra/cam/functions.json and never called: "+a)
			}
		}
	}
	return wrong
}

// used reads the audit log: what was refused for want of a right, and what rights, by every
// name that a grant may have, were used.
func (e *env) used() (refused []right, used map[right]bool, err error) {
	f, err := os.Open(e.Cluster.AuditLog())
	if err != nil {
		return nil, nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	used = map[right]bool{}
	told := map[right]bool{}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		var q request
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return nil, nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if q.ObjectRef == nil {
			continue
		}
		r := right{user: q.User.Username[strings.LastIndexByte(q.User.Username, ':')+1:], verb: q.Verb, group: q.ObjectRef.APIGroup, resource: q.ObjectRef.Resource}
		if s := q.ObjectRef.Subresource; s != "" {
			r.resource += "/" + s
		}
		if q.Annotations["authorization.k8s.io/decision"] == "forbid" {
			if r.name = q.ObjectRef.Name; !told[r] {
				told[r] = true
				refused = append(refused, r)
			}
			continue
		}
		used[r] = true
		r.name = q.ObjectRef.Name
		used[r] = true
	}
	return refused, used, in.Err()
}

// grantedRights are those of the plain manifests, one by one.
func grantedRights() ([]right, error) {
	all := map[right]bool{}
	for user, file := range map[string]string{"functions": "10-functions-rbac.yaml", "forwarder": "20-forwarder-rbac.yaml"} {
		raw, err := os.ReadFile(filepath.Join("../../infra/manifests", file))
		if err != nil {
			return nil, fmt.Errorf("reading the roles: %w", err)
		}
		for doc := range strings.SplitSeq(string(raw), "\n---") {
			var role rbacv1.ClusterRole
			if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
				return nil, fmt.Errorf("reading %s: %w", file, err)
			}
			for _, rule := range role.Rules {
				names := rule.ResourceNames
				if len(names) == 0 {
					names = []string{""}
				}
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							for _, name := range names {
								all[right{user, verb, group, resource, name}] = true
							}
						}
					}
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b right) int { return strings.Compare(a.String(), b.String()) }), nil
}
