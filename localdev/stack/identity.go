package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/sts"
)

// ByIdentity is the transport invoke with keys that the forwarder gets for its pod's token.
const ByIdentity = "invoke by pod identity"

const (
	// audience is the client ID of the identity provider that TKE makes for a cluster.
	audience = "sts.cloud.tencent.com"
	// role is the forwarder's in the account.
	role = "clb-direct-forwarder"
)

// startSTS starts STS, which knows the cluster as an identity provider by its id, as TKE
// registers it, and one role.
func (s *Stack) startSTS(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.Cluster.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	raw, err := client.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &discovery)
	}
	if err != nil {
		return fmt.Errorf("reading the cluster's issuer of tokens: %w", err)
	}
	policies, err := s.granted("forwarder.json")
	if err != nil {
		return err
	}
	trust, err := s.trusted(discovery.Issuer)
	if err != nil {
		return err
	}
	s.STS, err = sts.Start(sts.Options{
		Store:     s.Store,
		Providers: map[string]sts.Provider{ClusterID: {Issuer: discovery.Issuer, ClientIDs: []string{audience}, Review: sts.ReviewBy(client)}},
		Roles:     map[string]sts.Role{role: {Trust: trust, Policies: policies}},
	})
	return err
}

// trusted reads the trust policy of the forwarder's role (infra/cam), filled in as whoever
// installs this does.
func (s *Stack) trusted(issuer string) (cam.Trust, error) {
	raw, err := os.ReadFile(filepath.Join(s.o.Root, "infra", "cam", "forwarder-trust.json"))
	if err != nil {
		return cam.Trust{}, fmt.Errorf("reading whom the forwarder's role trusts: %w", err)
	}
	text := strings.NewReplacer("100000000000", cam.UIN, "cls-12345678", ClusterID,
		"https://ap-guangzhou-oidc.tke.tencentcs.com/id/000000000000000000000000", issuer).Replace(string(raw))
	t, err := cam.ParseTrust([]byte(text))
	if err != nil {
		return cam.Trust{}, fmt.Errorf("reading infra/cam/forwarder-trust.json: %w", err)
	}
	return t, nil
}

// signing is how a replica's calls are signed: the transport that its program knows, and
// its environment.
func (s *Stack) signing(ctx context.Context, identity, transport string) (string, []string, error) {
	if transport != ByIdentity {
		key, err := s.Key("forwarder", "forwarder.json")
		return transport, []string{"TENCENTCLOUD_SECRETID=" + key.SecretID, "TENCENTCLOUD_SECRETKEY=" + key.SecretKey}, err
	}
	if err := s.ProveIdentity(ctx, identity, audience); err != nil {
		return "", nil, err
	}
	return "invoke", append(s.injected(identity, RoleARN()), "CREDENTIAL=pod", "STS_ENDPOINT="+s.STS.Endpoint()), nil
}

// RoleARN names the forwarder's role in the account.
func RoleARN() string { return cam.Role(role) }

// injected is what TKE's add-on pod-identity-webhook adds to a pod's environment.
func (s *Stack) injected(identity, arn string) []string {
	return []string{"TKE_REGION=" + Region, "TKE_PROVIDER_ID=" + ClusterID, "TKE_ROLE_ARN=" + arn, "TKE_WEB_IDENTITY_TOKEN_FILE=" + s.proof(identity)}
}

// admitIdentity does for a pod what that add-on does if its ServiceAccount says so.
func (s *Stack) admitIdentity(ctx context.Context, pod *corev1.Pod) ([]string, error) {
	client, err := kubernetes.NewForConfig(s.Cluster.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	account, err := client.CoreV1().ServiceAccounts(pod.Namespace).Get(ctx, pod.Spec.ServiceAccountName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading ServiceAccount %s: %w", pod.Spec.ServiceAccountName, err)
	}
	arn := account.Annotations["tke.cloud.tencent.com/role-arn"]
	if arn == "" {
		return nil, nil
	}
	return s.injected(pod.Name, arn), s.ProveIdentity(ctx, pod.Name, account.Annotations["tke.cloud.tencent.com/audience"])
}

func (s *Stack) proof(identity string) string {
	return filepath.Join(s.Dir, identity+".token")
}

// ProveIdentity writes what a replica proves itself by, as the kubelet does: a token of its
// ServiceAccount for an audience, STS unless given. It is read when keys are asked for.
func (s *Stack) ProveIdentity(ctx context.Context, identity, to string) error {
	if to == "" {
		to = audience
	}
	token, err := s.Cluster.ServiceAccountToken(ctx, Namespace, "forwarder", 24*time.Hour, to)
	if err != nil {
		return fmt.Errorf("making the forwarder's identity: %w", err)
	}
	if err := os.WriteFile(s.proof(identity), []byte(token), 0o600); err != nil {
		return fmt.Errorf("writing the forwarder's identity: %w", err)
	}
	return nil
}
