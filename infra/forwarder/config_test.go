package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

func TestRead(t *testing.T) {
	env := map[string]string{
		"CLUSTER_ID": "cls-env", "CLAIM": "annotation", "NETWORK": "global-router", "POD_NAME": "pod-1", "POD_NAMESPACE": "ns",
		"URL_BACKENDS": "https://env.example", "EVENT_SECRET": "s3cret", "KUBECONFIG": "/ambient",
	}
	s, err := read([]string{"--cluster-id=cls-flag", "--frontend-url=https://flag.example", "--leader-elect=false", "--webhook-listen=-"}, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(desired.Policy{Cluster: "cls-flag", Claim: desired.ByAnnotation, Network: desired.GlobalRouter}, s.Policy); diff != "" {
		t.Errorf("a flag wins over its variable: -want +got\n%s", diff)
	}
	want := map[event.Function]string{event.Frontend: "https://flag.example", event.Backends: "https://env.example", event.Readiness: ""}
	if diff := cmp.Diff(want, plain(s.urls)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s.kubeconfig != "" {
		t.Errorf("took the ambient kubeconfig %s", s.kubeconfig)
	}
	if s.Identity != "pod-1" || s.Namespace != "ns" || !s.Election.Off || s.Webhook.Listen != "" || s.secret != "s3cret" {
		t.Errorf("read %+v", s)
	}
}

func TestReadNamesWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"NoCluster":   {"functions serve one cluster", nil, "--cluster-id"},
		"Claim":       {"a typing error must not claim everything", []string{"--cluster-id=c", "--claim=clas"}, "--claim"},
		"Network":     {"nor make every pod reachable", []string{"--cluster-id=c", "--network=vpc"}, "--network"},
		"Positional":  {"flags are all there is", []string{"--cluster-id=c", "extra"}, "extra"},
		"UnknownFlag": {"flags are those there are", []string{"--nonsense"}, "nonsense"},
		"Batch":       {"a request carries an event at least", []string{"--cluster-id=c", "--batch=0"}, "--batch"},
		"Profiles":    {"profiles are nobody else's business", []string{"--cluster-id=c", "--pprof=0.0.0.0:6060"}, "--pprof"},
		"Parallel":    {"nothing would ever be sent", []string{"--cluster-id=c", "--parallel=0"}, "--parallel"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := read(tc.args, func(string) string { return "" })
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error that names %s", tc.reason, err, tc.want)
			}
		})
	}
}

func TestConnectNeedsSecretAndFunctions(t *testing.T) {
	const kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
	file := t.TempDir() + "/kubeconfig"
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	urls := []string{"--cluster-id=c", "--kubeconfig=" + file, "--frontend-url=http://127.0.0.1:1", "--backends-url=http://127.0.0.1:1", "--readiness-url=http://127.0.0.1:1"}
	cases := map[string]struct {
		reason string
		args   []string
		secret string
		want   string
	}{
		"URL":       {"all is there", urls, "s", ""},
		"NoSecret":  {"anybody could send events", urls, "", "secret"},
		"NoURL":     {"a function has no address", urls[:4], "s", "readiness"},
		"NoName":    {"a function has no name", append([]string{"--transport=invoke"}, urls...), "s", "frontend"},
		"Batched":   {"several events a request", append([]string{"--batch=10"}, urls...), "s", ""},
		"Keys":      {"keys come from somewhere", append([]string{"--transport=invoke", "--credential=keys", "--frontend-function=f", "--backends-function=b", "--readiness-function=r"}, urls...), "s", "--credential"},
		"KeyFiles":  {"a mounted Secret has them", append([]string{"--transport=invoke", "--credential=/nonexistent", "--frontend-function=f", "--backends-function=b", "--readiness-function=r"}, urls...), "s", "credential"},
		"Identity":  {"a pod's identity is in its variables", append([]string{"--transport=invoke", "--credential=pod", "--frontend-function=f", "--backends-function=b", "--readiness-function=r"}, urls...), "s", "identity"},
		"Transport": {"there are two", append([]string{"--transport=pigeon"}, urls...), "s", "--transport"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := read(tc.args, func(k string) string { return map[string]string{"EVENT_SECRET": tc.secret}[k] })
			if err != nil {
				t.Fatal(err)
			}
			err = s.connect(slog.New(slog.DiscardHandler))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
