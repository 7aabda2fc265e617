package config

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
)

var caPEM = base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\n"))

// complete is an environment with nothing missing and nothing more.
func complete(change ...string) map[string]string {
	env := map[string]string{
		"CLUSTER_ID": "cls-abcd1234", "REGION": "ap-guangzhou",
		"KUBE_SERVER": "https://10.0.0.1:6443", "KUBE_TOKEN": "token", "KUBE_CA": caPEM,
	}
	for i := 0; i < len(change); i += 2 {
		env[change[i]] = change[i+1]
	}
	return env
}

func load(env map[string]string) (Config, error) {
	return Load(func(key string) string { return env[key] })
}

func TestLoad(t *testing.T) {
	want := Config{
		Policy: desired.Policy{Cluster: "cls-abcd1234", Claim: desired.ByClass, Network: desired.GlobalRouter},
		Region: "ap-guangzhou", LeaseNamespace: DefaultLeaseNamespace,
	}
	every := want
	every.Policy.Claim, every.Policy.Network = desired.ByAnnotation, desired.VPCCNI
	every.VPC, every.CLBEndpoint, every.LeaseNamespace, every.EventSecret = "vpc-1", "clb.internal.tencentcloudapi.com", "elsewhere", "s3cret"
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   Config
	}{
		"Least": {reason: "what is not said has a default", env: complete(), want: want},
		"Every": {reason: "every field", env: complete("CLAIM", "annotation", "NETWORK", "vpc-cni", "VPC_ID", "vpc-1", "CLB_ENDPOINT", "clb.internal.tencentcloudapi.com", "LEASE_NAMESPACE", "elsewhere", "EVENT_SECRET", "s3cret"), want: every},
		"RegionOfThePlatform": {
			reason: "the platform says in which region the function runs",
			env:    complete("REGION", "", "TENCENTCLOUD_REGION", "ap-guangzhou"), want: want,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := load(tc.env)
			if err != nil {
				t.Fatal(err)
			}
			kube := got.Kube
			got.Kube = nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if kube.Host != "https://10.0.0.1:6443" || kube.BearerToken != "token" || len(kube.CAData) == 0 || kube.Insecure {
				t.Errorf("%s: got %+v", tc.reason, kube)
			}
		})
	}
}

// fieldsOf collects the fields of all the errors joined in err.
func fieldsOf(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		if f, ok := err.(*fault.Error); ok && f.Field != "" {
			out = append(out, f.Field)
			return
		}
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	slices.Sort(out)
	return out
}

func TestLoadRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   []string
	}{
		"Nothing":       {reason: "everything that is missing is named at once", env: nil, want: []string{"CLUSTER_ID", "KUBE_SERVER", "REGION"}},
		"Several":       {reason: "everything that is wrong too", env: complete("CLAIM", "all", "NETWORK", "flannel", "CLUSTER_ID", "CLS", "REGION", "", "KUBE_TOKEN", ""), want: []string{"CLAIM", "CLUSTER_ID", "KUBE_TOKEN", "NETWORK", "REGION"}},
		"LongCluster":   {reason: "it must fit into a listener's name", env: complete("CLUSTER_ID", strings.Repeat("a", desired.MaxClusterID+1)), want: []string{"CLUSTER_ID"}},
		"Underscore":    {reason: "the separator in a listener's name", env: complete("CLUSTER_ID", "cls_1"), want: []string{"CLUSTER_ID"}},
		"PlainHTTP":     {reason: "a token never travels in the clear", env: complete("KUBE_SERVER", "http://10.0.0.1"), want: []string{"KUBE_SERVER"}},
		"NoURL":         {reason: "an address without a scheme", env: complete("KUBE_SERVER", "10.0.0.1:6443"), want: []string{"KUBE_SERVER"}},
		"NoToken":       {reason: "missing", env: complete("KUBE_TOKEN", ""), want: []string{"KUBE_TOKEN"}},
		"NoCA":          {reason: "without it anybody could answer", env: complete("KUBE_CA", ""), want: []string{"KUBE_CA"}},
		"CANotBase64":   {reason: "PEM itself has line breaks", env: complete("KUBE_CA", "-----BEGIN"), want: []string{"KUBE_CA"}},
		"Kubeconfig":    {reason: "not base64", env: complete("KUBECONFIG_DATA", "{"), want: []string{"KUBECONFIG_DATA"}},
		"KubeconfigBad": {reason: "not a kubeconfig", env: complete("KUBECONFIG_DATA", base64.StdEncoding.EncodeToString([]byte("a: [b"))), want: []string{"KUBECONFIG_DATA"}},
		"KubeconfigBig": {reason: "what unpacks without end is refused", env: complete("KUBECONFIG_DATA", packed(t, strings.Repeat(" ", maxKubeconfig+1))), want: []string{"KUBECONFIG_DATA"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := load(tc.env)
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%s: want Invalid, got %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, fieldsOf(err)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			for _, f := range tc.want {
				if !strings.Contains(err.Error(), f+": ") {
					t.Errorf("%s: the message doesn't name %s: %v", tc.reason, f, err)
				}
			}
			if diff := cmp.Diff(Config{}, got); diff != "" {
				t.Errorf("%s: half a configuration is none: -want +got:\n%s", tc.reason, diff)
			}
			if strings.Contains(err.Error(), caPEM) {
				t.Errorf("%s: the message shows what should be kept", tc.reason)
			}
		})
	}
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close()); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

func TestKubeconfig(t *testing.T) {
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"k","cluster":{"server":"https://10.0.0.2:6443","certificate-authority-data":"` + caPEM + `"}}],
"users":[{"name":"u","user":{"token":"t2"}}],"contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}]}`
	for name, data := range map[string]string{"Plain": base64.StdEncoding.EncodeToString([]byte(text)), "Gzipped": packed(t, text)} {
		t.Run(name, func(t *testing.T) {
			got, err := load(complete("KUBECONFIG_DATA", data))
			if err != nil {
				t.Fatal(err)
			}
			if got.Kube.Host != "https://10.0.0.2:6443" || got.Kube.BearerToken != "t2" {
				t.Errorf("it beats the other three, got %+v", got.Kube)
			}
		})
	}
}

// TestFitsInto4KB: a configuration with credentials as long as real ones stays
// within what SCF allows for all variables together.
func TestFitsInto4KB(t *testing.T) {
	env := complete(
		"CLAIM", "annotation", "NETWORK", "global-router", "VPC_ID", "vpc-12345678", "CLB_ENDPOINT", "clb.internal.tencentcloudapi.com",
		"EVENT_SECRET", strings.Repeat("s", 64), "KUBE_SERVER", "https://cls-abcd1234.ccs.tencent-cloud.com:443",
		// A CA of an RSA key of 2,048 bits is some 1,100 bytes of PEM, a ServiceAccount's token some 1,200.
		"KUBE_CA", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 1100)), "KUBE_TOKEN", strings.Repeat("t", 1200),
	)
	if _, err := load(env); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, k := range slices.Sorted(maps.Keys(env)) {
		size += len(fmt.Sprintf("%s=%s\n", k, env[k]))
	}
	if size > 4<<10 {
		t.Errorf("want at most 4,096 bytes, got %d", size)
	}
}
