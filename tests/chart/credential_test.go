package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

const (
	role  = "qcs::cam::uin/100000000000:roleName/clb-direct-forwarder"
	mount = "/etc/clb-direct/credential"
)

// byInvoke are the fewest values for calls by API, their keys aside.
var byInvoke = []string{
	"--set", "clusterId=cls-12345678", "--set", "transport.type=invoke", "--set", "transport.invoke.region=ap-guangzhou",
	"--set", "transport.invoke.functions.frontend=f", "--set", "transport.invoke.functions.backends=b", "--set", "transport.invoke.functions.readiness=r",
}

// signing is what of a release has to do with how calls are signed.
type signing struct {
	Credential, STS string            // of the ConfigMap
	Secrets         []string          // that the chart makes
	Env             []string          // Secrets whose keys are variables
	Variables       map[string]string // TKE_*
	Mounted         string            // what is at the mount: secret/<name>, token/<audience>
	Identity        map[string]string // annotations of the ServiceAccount
	RollsWithKeys   bool              // the pods are replaced when the Secret changes
}

func TestCredentialsReachTheForwarder(t *testing.T) {
	h := newHelm(t, "")
	set := func(values ...string) []string {
		args := slices.Clone(byInvoke)
		for _, v := range values {
			args = append(args, "--set", v)
		}
		return args
	}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   signing
	}{
		"URL": {
			reason: "function URLs are signed with the event secret, whatever is said of keys",
			args:   slices.Concat(enough, []string{"--set", "transport.invoke.credential=pod"}),
			want:   signing{Secrets: []string{"forwarder"}, Env: []string{"forwarder"}, RollsWithKeys: true},
		},
		"Env": {
			reason: "the default: variables, read at start",
			args:   set("secret.secretId=id", "secret.secretKey=key"),
			want:   signing{Secrets: []string{"forwarder"}, Env: []string{"forwarder"}, RollsWithKeys: true},
		},
		"Mounted": {
			reason: "files are read again for every call: no variables beside them, and no restart when they change",
			args:   set("transport.invoke.credential=mounted", "secret.secretId=id", "secret.secretKey=key"),
			want:   signing{Credential: mount, Secrets: []string{"forwarder"}, Mounted: "secret/forwarder"},
		},
		"MountedExisting": {
			reason: "somebody else's Secret, such as one that is rotated",
			args:   set("transport.invoke.credential=mounted", "secret.existing=keys"),
			want:   signing{Credential: mount, Mounted: "secret/keys"},
		},
		"Pod": {
			reason: "with TKE's add-on the ServiceAccount says which role, and there is no Secret",
			args:   set("transport.invoke.credential=pod", "transport.invoke.pod.roleArn="+role),
			want: signing{Credential: "pod", Identity: map[string]string{
				"tke.cloud.tencent.com/role-arn": role, "tke.cloud.tencent.com/audience": "sts.cloud.tencent.com",
			}},
		},
		"PodOtherwiseAnnotated": {
			reason: "whoever knows better how the add-on is told says so",
			args: set("transport.invoke.credential=pod", "transport.invoke.pod.roleArn="+role,
				`forwarder.serviceAccountAnnotations.tke\.cloud\.tencent\.com/audience=other`, `forwarder.serviceAccountAnnotations.example\.com/role=r`),
			want: signing{Credential: "pod", Identity: map[string]string{
				"tke.cloud.tencent.com/role-arn": role, "tke.cloud.tencent.com/audience": "other", "example.com/role": "r",
			}},
		},
		"PodWithoutAddOn": {
			reason: "with the provider's name token and variables are the chart's, and nothing tells the add-on to add its own",
			args: set("transport.invoke.credential=pod", "transport.invoke.pod.roleArn="+role, "transport.invoke.pod.providerId=cls-12345678",
				"transport.invoke.pod.stsEndpoint=sts.intl.tencentcloudapi.com"),
			want: signing{Credential: "pod", STS: "sts.intl.tencentcloudapi.com", Mounted: "token/sts.cloud.tencent.com", Variables: map[string]string{
				"TKE_REGION": "ap-guangzhou", "TKE_PROVIDER_ID": "cls-12345678", "TKE_ROLE_ARN": role, "TKE_WEB_IDENTITY_TOKEN_FILE": mount + "/token",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := h.Run(t.Context(), slices.Concat([]string{"template", "clb-direct", chartDir, "-n", namespace}, tc.args)...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, signingOf(t, string(out))); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// signingOf reads what was rendered, and checks what is so for every way.
func signingOf(t *testing.T, rendered string) (out signing) {
	t.Helper()
	for doc := range strings.SplitSeq(rendered, "\n---") {
		var o struct {
			Kind     string
			Metadata struct {
				Name        string
				Annotations map[string]string
			}
			Data map[string]string
		}
		into := func(v any) {
			if err := yaml.Unmarshal([]byte(doc), v); err != nil {
				t.Fatal(err)
			}
		}
		into(&o)
		switch {
		case o.Kind == "ConfigMap" && o.Metadata.Name == "forwarder":
			out.Credential, out.STS = o.Data["CREDENTIAL"], o.Data["STS_ENDPOINT"]
		case o.Kind == "Secret" && o.Metadata.Name != "functions-token":
			out.Secrets = append(out.Secrets, o.Metadata.Name)
		case o.Kind == "ServiceAccount" && o.Metadata.Name == "forwarder":
			out.Identity = o.Metadata.Annotations
		case o.Kind == "NetworkPolicy":
			var p networkingv1.NetworkPolicy
			into(&p)
			if !slices.ContainsFunc(p.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
				return len(r.To) == 0 && slices.ContainsFunc(r.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == 443 })
			}) {
				t.Errorf("the cloud's APIs, STS among them, are at 443: %+v", p.Spec.Egress)
			}
		case o.Kind == "Deployment":
			var d appsv1.Deployment
			into(&d)
			out.ofPod(t, d.Spec.Template)
		}
	}
	return out
}

func (s *signing) ofPod(t *testing.T, pod corev1.PodTemplateSpec) {
	t.Helper()
	_, s.RollsWithKeys = pod.Annotations["clb-direct.io/secret"]
	c := pod.Spec.Containers[0]
	for _, from := range c.EnvFrom {
		if from.SecretRef != nil {
			s.Env = append(s.Env, from.SecretRef.Name)
		}
	}
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "TKE_") {
			if s.Variables == nil {
				s.Variables = map[string]string{}
			}
			s.Variables[e.Name] = e.Value
		}
	}
	for i, v := range pod.Spec.Volumes {
		m := c.VolumeMounts[i]
		if m.Name != v.Name || m.MountPath != mount || !m.ReadOnly || m.SubPath != "" {
			t.Errorf("volume %s is mounted whole, read-only, at %s: %+v", v.Name, mount, m)
		}
		var mode *int32
		switch {
		case v.Secret != nil:
			s.Mounted, mode = "secret/"+v.Secret.SecretName, v.Secret.DefaultMode
		case v.Projected != nil:
			s.Mounted, mode = "token/"+v.Projected.Sources[0].ServiceAccountToken.Audience, v.Projected.DefaultMode
		}
		if mode == nil || *mode != 0o444 {
			t.Errorf("volume %s is readable by a user that isn't root, and writable by none", v.Name)
		}
	}
}
