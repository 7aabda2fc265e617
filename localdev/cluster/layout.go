package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The files of a state folder.
const (
	adminKubeconfig     = "kubeconfig"
	managerKubeconfig   = "controller-manager.kubeconfig"
	schedulerKubeconfig = "scheduler.kubeconfig"
	schedulerConfig     = "scheduler.yaml"
	caFile              = "ca.crt"
	servingCert         = "serving.crt"
	servingKey          = "serving.key"
	tokenKey            = "service-account.key"
	tokenPublicKey      = "service-account.pub"
	auditPolicy         = "audit.yaml"
	auditLog            = "audit.log"
	kubeletClientCert   = "kubelet-client.crt"
	kubeletClientKey    = "kubelet-client.key"
)

// controllers are the only ones that run: those that make, replace and clean up
// what a user applies, and those that the API server's admission needs. The
// endpoint controllers are left out as they refuse pods with loopback
// addresses, node lifecycle as emulated nodes send no heartbeats.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"garbage-collector-controller",
	"job-controller",
	"namespace-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"ttl-after-finished-controller",
}

// layout is where everything of one cluster is: files and addresses.
type layout struct {
	dir         string
	serviceCIDR string
	ports       ports
	server      string
	ca          *authority
	admin       *rest.Config
	audit       bool
}

// ports of the components, all on 127.0.0.1.
type ports struct {
	etcdClient, etcdPeer, apiServer, manager, scheduler int
}

// freePorts finds ports that nobody listens on now.
func freePorts() (ports, error) {
	var found ports
	for _, p := range []*int{&found.etcdClient, &found.etcdPeer, &found.apiServer, &found.manager, &found.scheduler} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return ports{}, err
		}
		// Closed only at the end: else the kernel may give the same port twice.
		defer l.Close()
		*p = l.Addr().(*net.TCPAddr).Port
	}
	return found, nil
}

// layOut writes keys, certificates and configuration files below dir.
func layOut(dir, serviceCIDR string, p ports, audit []string) (*layout, error) {
	l := &layout{dir: dir, audit: len(audit) > 0, serviceCIDR: serviceCIDR, ports: p, server: "https://" + loopback(p.apiServer)}
	prefix, err := netip.ParsePrefix(serviceCIDR)
	if err != nil {
		return nil, fmt.Errorf("reading the service range: %w", err)
	}
	ca, err := newAuthority(time.Now())
	if err != nil {
		return nil, err
	}
	l.ca = ca
	// The "kubernetes" Service has the range's first address.
	serving, err := ca.server(
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		[]net.IP{net.IPv4(127, 0, 0, 1), prefix.Masked().Addr().Next().AsSlice()})
	if err != nil {
		return nil, err
	}
	// Whom a kubelet that asks the API server lets in (kubectl logs, exec).
	asking, err := ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	private, public, err := signingKey()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		caFile:         ca.pem,
		servingCert:    serving.cert,
		servingKey:     serving.key,
		tokenKey:       private,
		tokenPublicKey: public,

		kubeletClientCert: asking.cert,
		kubeletClientKey:  asking.key,

		schedulerConfig: []byte(fmt.Sprintf(schedulerYAML, filepath.Join(dir, schedulerKubeconfig))),
	}
	if l.audit {
		users, err := json.Marshal(audit)
		if err != nil {
			return nil, fmt.Errorf("encoding the audit policy: %w", err)
		}
		files[auditPolicy] = fmt.Appendf(nil, auditYAML, users)
	}
	for name, identity := range map[string]struct{ user, group string }{
		// The group, not a role binding, makes the administrator: it works from
		// the API server's first moment.
		adminKubeconfig:     {"admin", "system:masters"},
		managerKubeconfig:   {"system:kube-controller-manager", ""},
		schedulerKubeconfig: {"system:kube-scheduler", ""},
	} {
		var groups []string
		if identity.group != "" {
			groups = []string{identity.group}
		}
		pair, err := ca.client(identity.user, groups...)
		if err != nil {
			return nil, err
		}
		if files[name], err = kubeconfig(l.server, ca.pem, identity.user, pair); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(l.path(name), data, 0o600); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if l.admin, err = clientcmd.RESTConfigFromKubeConfig(files[adminKubeconfig]); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig back: %w", err)
	}
	return l, nil
}

// kubeconfig encodes a self-contained kubeconfig: no file it refers to can be
// missing when it is copied elsewhere.
func kubeconfig(server string, ca []byte, user string, pair keyPair) ([]byte, error) {
	const name = "clb-direct"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user, Namespace: "default"}
	cfg.CurrentContext = name
	return clientcmd.Write(*cfg)
}

// schedulerYAML lets the scheduler bind a thousand pods in seconds: its client
// is limited to 50 requests a second by default.
const schedulerYAML = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: %s
  qps: 1000
  burst: 2000
leaderElection:
  leaderElect: false
`

// auditYAML writes down requests of some users when they are answered, watches when they
// begin, and no others.
const auditYAML = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: %s
  - level: None
`

func (l *layout) path(name string) string { return filepath.Join(l.dir, name) }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// specs returns how to start each component.
func (l *layout) specs(bins Binaries, log io.Writer) map[Component]spec {
	etcdURL := "http://" + loopback(l.ports.etcdClient)
	peerURL := "http://" + loopback(l.ports.etcdPeer)
	serving := []string{"--tls-cert-file=" + l.path(servingCert), "--tls-private-key-file=" + l.path(servingKey)}
	args := map[Component][]string{
		Etcd: {
			"--data-dir=" + l.path("etcd"),
			"--listen-client-urls=" + etcdURL,
			"--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=" + peerURL,
			"--initial-advertise-peer-urls=" + peerURL,
			"--initial-cluster=default=" + peerURL,
			"--unsafe-no-fsync",
			"--quota-backend-bytes=8589934592", // benchmarks hold 50,000 pods
			"--log-level=warn",
		},
		APIServer: append([]string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(l.ports.apiServer),
			"--client-ca-file=" + l.path(caFile),
			"--kubelet-client-certificate=" + l.path(kubeletClientCert),
			"--kubelet-client-key=" + l.path(kubeletClientKey),
			// Nodes' names are nowhere to be looked up.
			"--kubelet-preferred-address-types=InternalIP",
			"--authorization-mode=Node,RBAC",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + l.path(tokenPublicKey),
			"--service-account-signing-key-file=" + l.path(tokenKey),
			"--service-cluster-ip-range=" + l.serviceCIDR,
			// The API server's own endpoint would be 127.0.0.1, which no
			// EndpointSlice may hold.
			"--endpoint-reconciler-type=none",
			"--allow-privileged=true",
			"--profiling=false",
		}, serving...),
		ControllerManager: append([]string{
			"--kubeconfig=" + l.path(managerKubeconfig),
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(l.ports.manager),
			"--controllers=" + strings.Join(controllers, ","),
			"--service-account-private-key-file=" + l.path(tokenKey),
			"--root-ca-file=" + l.path(caFile),
			"--use-service-account-credentials",
			"--leader-elect=false",
			"--kube-api-qps=1000",
			"--kube-api-burst=2000",
			"--profiling=false",
		}, serving...),
		Scheduler: append([]string{
			"--config=" + l.path(schedulerConfig),
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(l.ports.scheduler),
		}, serving...),
	}
	if l.audit {
		args[APIServer] = append(args[APIServer], "--audit-policy-file="+l.path(auditPolicy), "--audit-log-path="+l.path(auditLog))
	}
	ready := map[Component]string{
		Etcd:              etcdURL + "/health",
		APIServer:         l.server + "/readyz",
		ControllerManager: "https://" + loopback(l.ports.manager) + "/healthz",
		Scheduler:         "https://" + loopback(l.ports.scheduler) + "/readyz",
	}
	specs := map[Component]spec{}
	for name, a := range args {
		specs[name] = spec{
			program: bins.path(string(name)),
			args:    a,
			env:     environment(),
			logFile: logPath(l.dir, name),
			log:     log,
			ready:   ready[name],
		}
	}
	return specs
}

// environment is what the components see of ours: none of the variables by
// which they would take credentials, proxies or another cluster. GOGC trades
// some processor time for memory; it is applied to all alike.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GOGC=75"}
}
