// Package config reads a function's environment once, into a checked struct. SCF
// allows 4 KB of it in all.
package config

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
)

// Config is what a function is configured with.
type Config struct {
	Policy desired.Policy
	// Region like ap-guangzhou.
	Region string
	// VPC that CLBs are created in; "" is the account's default VPC.
	VPC string
	// CLBEndpoint replaces Tencent's public API host, for the in-VPC one.
	CLBEndpoint string
	// LeaseNamespace holds the Leases that serialise writes to a CLB.
	LeaseNamespace string
	// EventSecret is what function URL requests are signed with; "" answers none.
	EventSecret string
	// Kube says how to reach the API server.
	Kube *rest.Config
}

// DefaultLeaseNamespace is where our own objects live.
const DefaultLeaseNamespace = "clb-direct-system"

var clusterID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// Load reads the environment by get. Every field at fault is named, all at once.
func Load(get func(string) string) (Config, error) {
	c := Config{
		Region:         get("REGION"),
		VPC:            get("VPC_ID"),
		CLBEndpoint:    get("CLB_ENDPOINT"),
		LeaseNamespace: orElse(get("LEASE_NAMESPACE"), DefaultLeaseNamespace),
		EventSecret:    get("EVENT_SECRET"),
		Policy: desired.Policy{
			Cluster: get("CLUSTER_ID"),
			Claim:   desired.ClaimMode(orElse(get("CLAIM"), string(desired.ByClass))),
			Network: desired.Network(orElse(get("NETWORK"), string(desired.GlobalRouter))),
		},
	}
	if c.Region == "" {
		c.Region = get("TENCENTCLOUD_REGION") // given by the platform
	}
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, fault.Invalidf(field, format, args...)) }
	switch id := c.Policy.Cluster; {
	case id == "":
		bad("CLUSTER_ID", "is missing: the id of the TKE cluster, like cls-abcd1234")
	case len(id) > desired.MaxClusterID || !clusterID.MatchString(id):
		bad("CLUSTER_ID", "is %q, must be at most %d lower-case letters, digits and -", id, desired.MaxClusterID)
	}
	if m := c.Policy.Claim; m != desired.ByClass && m != desired.ByAnnotation {
		bad("CLAIM", "is %q, must be %q or %q", m, desired.ByClass, desired.ByAnnotation)
	}
	if n := c.Policy.Network; n != desired.VPCCNI && n != desired.GlobalRouter {
		bad("NETWORK", "is %q, must be %q or %q", n, desired.VPCCNI, desired.GlobalRouter)
	}
	if c.Region == "" {
		bad("REGION", "is missing: the region of the cluster, like ap-guangzhou")
	}
	var err error
	if c.Kube, err = kubeConfig(get); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return Config{}, &fault.Error{Kind: fault.Invalid, Op: "reading the configuration", Err: errors.Join(errs...)}
	}
	return c, nil
}

// kubeConfig reads either KUBECONFIG_DATA, or KUBE_SERVER with KUBE_CA and
// KUBE_TOKEN. Nothing of the machine's own is ever looked at.
func kubeConfig(get func(string) string) (*rest.Config, error) {
	if data := get("KUBECONFIG_DATA"); data != "" {
		raw, err := unpack(data)
		if err != nil {
			return nil, fault.Invalidf("KUBECONFIG_DATA", "must be a kubeconfig, base64, gzipped or not: %w", err)
		}
		cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
		if err != nil {
			return nil, fault.Invalidf("KUBECONFIG_DATA", "%w", err)
		}
		return cfg, nil
	}
	server, token := get("KUBE_SERVER"), get("KUBE_TOKEN")
	if server == "" {
		return nil, fault.Invalidf("KUBE_SERVER", "is missing: the API server's https address (or give KUBECONFIG_DATA)")
	}
	if u, err := url.Parse(server); err != nil || u.Host == "" || u.Scheme != "https" {
		return nil, fault.Invalidf("KUBE_SERVER", "is %q, must be an https URL", server)
	}
	if token == "" {
		return nil, fault.Invalidf("KUBE_TOKEN", "is missing: a token of the functions' ServiceAccount")
	}
	ca, err := base64.StdEncoding.DecodeString(get("KUBE_CA"))
	if err != nil || len(ca) == 0 {
		return nil, fault.Invalidf("KUBE_CA", "must be the API server's CA certificate, PEM in base64")
	}
	return &rest.Config{Host: server, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}, nil
}

// maxKubeconfig bounds what a gzipped kubeconfig may unpack to, in bytes.
const maxKubeconfig = 1 << 20

func unpack(data string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxKubeconfig+1))
	if err == nil && len(out) > maxKubeconfig {
		err = fmt.Errorf("unpacks to more than %d bytes", maxKubeconfig)
	}
	return out, err
}

func orElse(v, other string) string {
	if v == "" {
		return other
	}
	return v
}
