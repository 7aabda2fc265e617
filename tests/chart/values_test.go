package chart

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// enough are the fewest values that the whole chart can do with.
var enough = []string{
	"--set", "clusterId=cls-12345678",
	"--set", "transport.urls.frontend=https://f.example", "--set", "transport.urls.backends=https://b.example", "--set", "transport.urls.readiness=https://r.example",
	"--set", "secret.eventSecret=s",
}

// Values that can't work are refused before anything is installed, by name.
func TestValuesAreChecked(t *testing.T) {
	h := newHelm(t, "")
	invoke := []string{"--set", "clusterId=cls-12345678", "--set", "transport.type=invoke"}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   []string // in the error; none: it renders
	}{
		"Enough":      {reason: "what is required is there", args: enough},
		"AccessAlone": {reason: "without the forwarder nothing is required", args: []string{"--set", "forwarder.enabled=false"}},
		"NoCluster":   {reason: "the forwarder must know its cluster", args: enough[2:], want: []string{"clusterId", "missing"}},
		"NoURL":       {reason: "a function without a URL can't be reached", args: slices.Concat(enough, []string{"--set", "transport.urls.backends="}), want: []string{"transport.urls.backends", "missing"}},
		"NoRegion":    {reason: "an API is a region's", args: invoke, want: []string{"transport.invoke.region", "missing"}},
		"NoFunction":  {reason: "and a function has a name", args: slices.Concat(invoke, []string{"--set", "transport.invoke.region=ap-guangzhou"}), want: []string{"transport.invoke.functions.frontend"}},
		"NoRole":      {reason: "an identity without a role is good for nothing", args: slices.Concat(byInvoke, []string{"--set", "transport.invoke.credential=pod"}), want: []string{"transport.invoke.pod.roleArn", "missing"}},
		"Role":        {reason: "a role is named as CAM does", args: slices.Concat(byInvoke, []string{"--set", "transport.invoke.credential=pod", "--set", "transport.invoke.pod.roleArn=forwarder"}), want: []string{"roleArn", "qcs::cam"}},
		"Credential":  {reason: "one of three", args: slices.Concat(byInvoke, []string{"--set", "transport.invoke.credential=/keys"}), want: []string{"credential", "mounted"}},
		"Claim":       {reason: "one of two", args: slices.Concat(enough, []string{"--set", "claim=all"}), want: []string{"claim", "class"}},
		"Unknown":     {reason: "a typing error isn't ignored", args: slices.Concat(enough, []string{"--set", "forwarder.replica=3"}), want: []string{"replica"}},
		"Replicas":    {reason: "at least one", args: slices.Concat(enough, []string{"--set", "forwarder.replicas=0"}), want: []string{"replicas"}},
		"ClusterIP":   {reason: "an address", args: slices.Concat(enough, []string{"--set", "drain.clusterIP=drain.example"}), want: []string{"clusterIP"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Run(t.Context(), slices.Concat([]string{"template", "clb-direct", chartDir, "-n", namespace}, tc.args)...)
			if (err != nil) != (tc.want != nil) {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			for _, word := range tc.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: want %q in %v", tc.reason, word, err)
				}
			}
		})
	}
}

// The schema knows every value that values.yaml has, and no other.
func TestSchemaKnowsEveryValue(t *testing.T) {
	var values map[string]any
	read(t, chartDir+"/values.yaml", &values)
	var schema node
	read(t, chartDir+"/values.schema.json", &schema)
	delete(schema.Properties, "global") // helm's own
	want, got := map[string]bool{}, map[string]bool{}
	paths("", values, want)
	schema.paths("", got)
	maps.DeleteFunc(want, func(path string, _ bool) bool { // what users name themselves
		return slices.ContainsFunc([]string{".resources.", ".labels."}, func(s string) bool { return strings.Contains(path, s) })
	})
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("-values.yaml +values.schema.json:\n%s", diff)
	}
}

// node is a part of a schema.
type node struct {
	Properties map[string]*node `json:"properties"`
}

func (n *node) paths(prefix string, out map[string]bool) {
	for name, child := range n.Properties {
		out[prefix+name] = true
		child.paths(prefix+name+".", out)
	}
}

func paths(prefix string, values map[string]any, out map[string]bool) {
	for name, v := range values {
		out[prefix+name] = true
		if m, ok := v.(map[string]any); ok {
			paths(prefix+name+".", m, out)
		}
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		if strings.HasSuffix(path, ".json") {
			err = json.Unmarshal(raw, into)
		} else {
			err = yaml.Unmarshal(raw, into)
		}
	}
	if err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
}
