package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/clb-direct/clb-direct/infra/forwarder/replica"
	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// settings are what flags and environment say. A flag wins over its variable.
type settings struct {
	replica.Options
	env                    func(string) string
	kubeconfig             string
	claim, network         string
	transport              string
	urls, names            map[event.Function]*string
	secret                 string
	scfNamespace, region   string
	endpoint, scheme       string
	credential, sts        string
	batch                  int
	secretID, key, session string
}

// read parses arguments; env looks variables up. Unset, a flag has the value of its
// variable, and that unset the default.
func read(args []string, env func(string) string) (*settings, error) {
	s := &settings{env: env, urls: map[event.Function]*string{}, names: map[event.Function]*string{}}
	fs := flag.NewFlagSet("forwarder", flag.ContinueOnError)
	text := func(p *string, name, variable, value, usage string) {
		fs.StringVar(p, name, cmp.Or(env(variable), value), fmt.Sprintf("%s (%s)", usage, variable))
	}
	fs.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig file; without it the Pod's own ServiceAccount is used, never an ambient one")
	text(&s.Policy.Cluster, "cluster-id", "CLUSTER_ID", "", "the cluster's id, as the functions know it")
	text(&s.claim, "claim", "CLAIM", string(desired.ByClass), "which Services and Ingresses are ours: class or annotation")
	text(&s.network, "network", "NETWORK", string(desired.VPCCNI), "the cluster's network: vpc-cni or global-router")
	text(&s.Namespace, "namespace", "POD_NAMESPACE", "clb-direct-system", "the forwarder's own namespace")
	text(&s.Identity, "identity", "POD_NAME", "", "this replica's name, the host's unless set")
	text(&s.Listen, "listen", "LISTEN", ":8080", "address for health and metrics")
	text(&s.transport, "transport", "TRANSPORT", "url", "how functions are called: url or invoke")
	for _, f := range event.Functions {
		s.urls[f], s.names[f] = new(string), new(string)
		text(s.urls[f], string(f)+"-url", "URL_"+upper(f), "", "function URL of "+string(f))
		text(s.names[f], string(f)+"-function", "FUNCTION_"+upper(f), "", "name of function "+string(f)+", for --transport=invoke")
	}
	// Secrets come by environment only: arguments are seen by everybody on a node.
	s.secret, s.secretID, s.key, s.session = env("EVENT_SECRET"), env("TENCENTCLOUD_SECRETID"), env("TENCENTCLOUD_SECRETKEY"), env("TENCENTCLOUD_SESSIONTOKEN")
	text(&s.scfNamespace, "scf-namespace", "SCF_FUNCTION_NAMESPACE", "default", "namespace of the functions")
	text(&s.region, "region", "REGION", "", "region of the functions")
	text(&s.endpoint, "scf-endpoint", "SCF_ENDPOINT", "", "host of the SCF API; the SDK's own unless set")
	text(&s.scheme, "scf-scheme", "SCF_SCHEME", "HTTPS", "HTTPS or HTTP, for STS too")
	text(&s.sts, "sts-endpoint", "STS_ENDPOINT", "", "host of STS, for --credential=pod; "+transport.DefaultSTS+" unless set")
	text(&s.credential, "credential", "CREDENTIAL", "env", "the cloud's credential for --transport=invoke: env for TENCENTCLOUD_SECRETID and TENCENTCLOUD_SECRETKEY, pod for TKE's pod identity, or the folder of a mounted Secret with files of those names, read again for every call")
	fs.IntVar(&s.batch, "batch", 1, "for --transport=url: how many events one request may carry when --parallel requests are under way already; 1 for one each")
	fs.DurationVar(&s.SendTimeout, "send-timeout", 40*time.Second, "longest a function may take to answer; keep it above the functions' own timeout")
	fs.IntVar(&s.Parallel, "parallel", 32, "how many events may be under way")
	elect := fs.Bool("leader-elect", true, "let one replica of several send; off only where there is just one")
	fs.StringVar(&s.Election.Lease, "lease", "clb-direct-forwarder", "name of the election's Lease")
	text(&s.Webhook.Listen, "webhook-listen", "WEBHOOK_LISTEN", ":8443", "address of the admission webhook, - for none")
	text(&s.Webhook.URL, "webhook-url", "WEBHOOK_URL", "", "how the API server reaches the webhook, if not by its Service (for development)")
	fs.StringVar(&s.Webhook.Service, "webhook-service", "clb-direct-forwarder", "the webhook's Service")
	fs.StringVar(&s.Webhook.Secret, "webhook-secret", "clb-direct-webhook", "Secret for the webhook's certificates")
	fs.StringVar(&s.Webhook.Configuration, "webhook-configuration", "clb-direct", "name of the MutatingWebhookConfiguration")
	fs.StringVar(&s.Webhook.Owner, "webhook-owner", "clb-direct-forwarder", "ClusterRole that the configuration goes with, empty for none")
	text(&s.Drain.Service, "drain-service", "DRAIN_SERVICE", "clb-direct-drain", "the Service that drain hooks of pods lead to, - for no hooks")
	text(&s.Drain.Address, "drain-address", "DRAIN_ADDRESS", "", "host and port that they lead to instead (for development)")
	fs.DurationVar(&s.Drain.Propagation, "drain-propagation", 2*time.Second, "how long a CLB's data plane may take to follow what its API has confirmed")
	fs.StringVar(&s.Pprof, "pprof", "", "loopback address for profiles (net/http/pprof), such as 127.0.0.1:6060; none unless set")
	fs.DurationVar(&s.Linger, "linger", 3*time.Second, "how long a replica told to stop still answers the webhook")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("reading arguments: %q is not a flag", fs.Arg(0))
	}
	s.Election.Off = !*elect
	return s, s.check()
}

func upper(f event.Function) string {
	b := []byte(f)
	for i := range b {
		b[i] -= 'a' - 'A'
	}
	return string(b)
}

// check refuses what can't work, naming the flag.
func (s *settings) check() error {
	if s.Policy.Cluster == "" {
		return errors.New("reading --cluster-id: it is missing")
	}
	s.Policy.Claim, s.Policy.Network = desired.ClaimMode(s.claim), desired.Network(s.network)
	if s.Policy.Claim != desired.ByClass && s.Policy.Claim != desired.ByAnnotation {
		return fmt.Errorf("reading --claim: %q is neither %s nor %s", s.claim, desired.ByClass, desired.ByAnnotation)
	}
	if s.Policy.Network != desired.VPCCNI && s.Policy.Network != desired.GlobalRouter {
		return fmt.Errorf("reading --network: %q is neither %s nor %s", s.network, desired.VPCCNI, desired.GlobalRouter)
	}
	if s.Pprof != "" {
		if at, err := netip.ParseAddrPort(s.Pprof); err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("reading --pprof: %q is no address and port of loopback", s.Pprof)
		}
	}
	if s.Webhook.Listen == "-" {
		s.Webhook.Listen = ""
	}
	if s.Drain.Service == "-" {
		s.Drain.Service = ""
	}
	if s.batch < 1 || s.batch > 100 {
		return errors.New("reading --batch: 1 to 100")
	}
	if s.Parallel < 1 || s.SendTimeout < time.Second {
		return errors.New("reading --parallel and --send-timeout: at least 1 and 1s")
	}
	if s.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("reading --identity: %w", err)
		}
		s.Identity = host
	}
	return nil
}

// kubeConfig reads a kubeconfig file, or the Pod's own ServiceAccount where none is named.
func kubeConfig(file string) (config *rest.Config, err error) {
	if file != "" {
		config, err = clientcmd.BuildConfigFromFlags("", file)
	} else {
		config, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return config, nil
}

// connect makes what reaches the API server and the functions.
func (s *settings) connect(log *slog.Logger) (err error) {
	if s.Config, err = kubeConfig(s.kubeconfig); err != nil {
		return err
	}
	switch s.transport {
	case "url":
		var u *transport.URL
		if u, err = transport.NewURL(plain(s.urls), s.secret, s.Parallel); err == nil && s.batch > 1 {
			s.Transport = &transport.Batch{URL: u, Width: s.Parallel, Most: s.batch}
			s.Parallel *= s.batch
			return nil
		}
		s.Transport = u
	case "invoke":
		var credential common.CredentialIface
		if credential, err = s.credentials(log); err != nil {
			return err
		}
		s.Transport, err = transport.NewInvoke(transport.InvokeOptions{
			Functions: plain(s.names), Namespace: s.scfNamespace, Region: s.region, Endpoint: s.endpoint, Scheme: s.scheme,
			Credential: credential, Timeout: s.SendTimeout,
		})
	default:
		return fmt.Errorf("reading --transport: %q is neither url nor invoke", s.transport)
	}
	return err
}

// credentials finds what signs calls of the cloud's API.
func (s *settings) credentials(log *slog.Logger) (common.CredentialIface, error) {
	switch {
	case s.credential == "env":
		return common.NewTokenCredential(s.secretID, s.key, s.session), nil
	case s.credential == "pod":
		return transport.NewPodIdentity(transport.PodIdentityOptions{Env: s.env, Endpoint: s.sts, Scheme: s.scheme, Log: log})
	case filepath.IsAbs(s.credential):
		return transport.NewMounted(s.credential, log)
	}
	return nil, fmt.Errorf("reading --credential: %q is neither env, pod, nor the absolute path of a folder", s.credential)
}

func plain(m map[event.Function]*string) map[event.Function]string {
	out := map[event.Function]string{}
	for f, v := range m {
		out[f] = *v
	}
	return out
}
