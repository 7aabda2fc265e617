// Package cluster runs a real Kubernetes control plane on loopback: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, each the upstream
// program, as child processes that end with the process that started them.
//
// It is for tests and local development. Nothing outside 127.0.0.1 is listened
// on, ports are chosen free, keys are made for each start, and the state lives
// in a temporary folder, without fsync, that Stop removes. There is no kubelet
// (package node stands in for it), no endpoint controller (it refuses the
// loopback addresses that pods have here) and no node lifecycle controller.
//
// A cluster that the caller names explicitly can stand in for it (Adopt); no
// ambient KUBECONFIG or credential is ever looked at.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// DefaultServiceCIDR is the range of ClusterIPs, kubeadm's default one made
// smaller.
const DefaultServiceCIDR = "10.96.0.0/16"

// startAttempts bounds how often Start tries again when a port that was free a
// moment ago has been taken in the meantime.
const startAttempts = 3

// Options say how Start starts a control plane. The zero value works inside
// the source tree of this module.
type Options struct {
	// Root is the directory of the main module, below which the control plane's
	// own module lies. Default: asked of the go command in the working directory.
	Root string
	// CacheDir holds the built programs. Default: clb-direct/controlplane below
	// os.UserCacheDir.
	CacheDir string
	// StateDir holds keys, kubeconfig, logs and the database. Default: a
	// temporary folder, removed by Stop. A folder given here is kept.
	StateDir string
	// ServiceCIDR is the range of ClusterIPs. Default: DefaultServiceCIDR.
	ServiceCIDR string
	// Audit names users whose requests are written down, one JSON line each of kind
	// audit.k8s.io/v1 Event at level Metadata, in AuditLog. Default: none, and no log.
	Audit []string
	// Progress is told, for a person, what takes time. Default: nobody.
	Progress io.Writer
	// Log gets what the components print, each line after the component's name.
	// Their whole output is in StateDir/logs in any case, until Stop.
	Log io.Writer
	// StartTimeout bounds the time from the first process to a ready cluster.
	// Default: one minute.
	StartTimeout time.Duration
}

// Cluster is a running control plane, or one that was adopted.
type Cluster struct {
	// Dir is the state folder: kubeconfig, keys, logs, database.
	Dir string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Server is the API server's URL.
	Server string
	// CA is the PEM bundle that the API server's certificate chains to.
	CA []byte
	// Binaries are the programs that run it. Empty for an adopted cluster.
	Binaries Binaries

	config  *rest.Config
	etcd    string // its URL, "" for none of ours
	keepDir bool
	mu      sync.Mutex
	// authority signs for those that join, nil for none of ours
	authority *authority
	running   map[Component]*process
	specs     map[Component]spec
	stopOnce  sync.Once
	stopErr   error
}

// Start builds the programs if need be, starts them and waits until each says
// that it is ready and a pod can be created in the default namespace. The
// caller must Stop the cluster. Cancelling ctx aborts the start; it doesn't end
// a cluster that has started.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	opts = opts.withDefaults()
	bins, err := Build(ctx, opts.Progress, BuildOptions{Root: opts.Root, CacheDir: opts.CacheDir})
	if err != nil {
		return nil, fmt.Errorf("building the control plane: %w", err)
	}
	for attempt := 1; ; attempt++ {
		c, err := startOnce(ctx, opts, bins)
		if err == nil {
			return c, nil
		}
		// Between finding a port free and binding it another process may take it:
		// the one failure that a second try can mend.
		if attempt == startAttempts || !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

func (o Options) withDefaults() Options {
	if o.ServiceCIDR == "" {
		o.ServiceCIDR = DefaultServiceCIDR
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	return o
}

func startOnce(ctx context.Context, opts Options, bins Binaries) (_ *Cluster, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
	defer cancel()

	c := &Cluster{Binaries: bins, running: map[Component]*process{}, keepDir: opts.StateDir != ""}
	if c.Dir, err = stateDir(opts.StateDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()

	ports, err := freePorts()
	if err != nil {
		return nil, fmt.Errorf("choosing ports: %w", err)
	}
	lay, err := layOut(c.Dir, opts.ServiceCIDR, ports, opts.Audit)
	if err != nil {
		return nil, err
	}
	c.etcd = "http://" + loopback(ports.etcdClient)
	c.Server, c.CA, c.config, c.Kubeconfig = lay.server, lay.ca.pem, lay.admin, lay.path(adminKubeconfig)
	c.authority = lay.ca
	c.specs = lay.specs(bins, opts.Log)

	// etcd and the API server start side by side, as the latter waits for its
	// database; the other two give up early on an API server that isn't there.
	for _, wave := range [][]Component{{Etcd, APIServer}, {ControllerManager, Scheduler}} {
		for _, name := range wave {
			if err := c.start(name); err != nil {
				return nil, err
			}
		}
		for _, name := range wave {
			if err := c.awaitReady(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	if err := c.awaitServiceAccount(ctx, metav1.NamespaceDefault, "default"); err != nil {
		return nil, err
	}
	fmt.Fprintf(opts.Progress, "control plane ready at %s after %.1f s\n", c.Server, time.Since(began).Seconds())
	return c, nil
}

// stateDir makes the folder for everything a cluster writes. Keys lie in it, so
// nobody else may look.
func stateDir(given string) (string, error) {
	if given == "" {
		dir, err := os.MkdirTemp("", "clb-direct-cluster-")
		if err != nil {
			return "", fmt.Errorf("making the state folder: %w", err)
		}
		return dir, nil
	}
	dir, err := filepath.Abs(given)
	if err != nil {
		return "", fmt.Errorf("resolving the state folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the state folder: %w", err)
	}
	return dir, nil
}

// AuditLog is where requests are written down, if any are.
func (c *Cluster) AuditLog() string { return filepath.Join(c.Dir, auditLog) }

// RESTConfig returns a new client configuration with the administrator's rights
// and no client-side rate limit: the server's own fairness is enough here.
func (c *Cluster) RESTConfig() *rest.Config {
	cfg := rest.CopyConfig(c.config)
	cfg.QPS = -1
	return cfg
}

// ClientKubeconfig returns a kubeconfig for a user in groups, such as a kubelet's. It is an
// error with a cluster of somebody else's, whose authority isn't ours.
func (c *Cluster) ClientKubeconfig(user string, groups ...string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority == nil {
		return nil, fmt.Errorf("making a certificate for %s: the cluster's authority is not ours", user)
	}
	pair, err := c.authority.client(user, groups...)
	if err != nil {
		return nil, err
	}
	return kubeconfig(c.Server, c.CA, user, pair)
}

// ServiceAccountToken returns a token of a service account, valid for about ttl
// (the API server's shortest is ten minutes), by the TokenRequest API; for the API server,
// unless others are named that it is meant for.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string, ttl time.Duration, audiences ...string) (string, error) {
	client, err := kubernetes.NewForConfig(Patient(c.RESTConfig()))
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	seconds := int64(ttl.Seconds())
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, Audiences: audiences}}
	got, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, req, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of %s/%s: %w", namespace, name, err)
	}
	return got.Status.Token, nil
}

// awaitServiceAccount waits until the controller manager has made a namespace's
// service account: before that no pod can be created there.
func (c *Cluster) awaitServiceAccount(ctx context.Context, namespace, name string) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("awaiting service account %s/%s: %w", namespace, name, err)
	}
	return nil
}

// Stop ends every process that Start started and waits until they are gone,
// then removes the state folder unless it was given. It is safe to call more
// than once. For an adopted cluster it does nothing.
func (c *Cluster) Stop() error {
	c.stopOnce.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		// The database goes last, so that the others' last writes don't hang.
		c.stopErr = errors.Join(
			stopAll(c.running[Scheduler], c.running[ControllerManager], c.running[APIServer]),
			stopAll(c.running[Etcd]),
		)
		clear(c.running)
		if c.Dir != "" && !c.keepDir {
			if err := os.RemoveAll(c.Dir); err != nil {
				c.stopErr = errors.Join(c.stopErr, fmt.Errorf("removing the state folder: %w", err))
			}
		}
	})
	return c.stopErr
}
