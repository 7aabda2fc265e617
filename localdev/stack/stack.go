// Package stack starts everything that clb-direct runs in and on, on loopback: a
// real control plane, emulated nodes, the CLB and SCF emulators, the packaged
// functions and the forwarder. No account, no cluster, no container engine.
//
// The forwarder and the functions are the real programs in processes of their own;
// they never know that they talk to emulators.
package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/kubelet"
	"github.com/clb-direct/clb-direct/localdev/link"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/sts"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// What the emulated account looks like.
const (
	ClusterID = "cls-localdev"
	Region    = "ap-guangzhou"
	VPC       = "vpc-localdev"
	Subnet    = "subnet-localdev"
	Namespace = "clb-direct-system"
)

// Options of a Stack. The zero value, with Timers, is the demo's.
type Options struct {
	// Root is the directory of the main module.
	Root string
	// StateDir keeps everything that is written; "" is a temporary folder, removed
	// by Close.
	StateDir string
	// Kubeconfig names a cluster of the user's own to use instead of starting one.
	Kubeconfig string
	// Claim and Network as the functions take them; default annotation and
	// global-router, which is what TKE's document describes.
	Claim, Network string
	// Nodes is how many nodes there are, default 2. Negative for none.
	Nodes int
	// CLB and SCF are options of the emulators; what ties them together is filled in.
	CLB clb.Options
	SCF scf.Options
	// Timers lets the timers of serverless.yml fire at their times. Without it they do
	// when told to, so that nothing repairs what a test looks at.
	Timers bool
	// Node are options of the nodes.
	Node node.Options
	// Kubelet adds a node with the real kubelet; what ties it to the rest is filled in.
	// Virtual addresses then come from its Clients, and clients must have theirs from
	// there, for its pods can't answer to loopback. Nil for none.
	Kubelet *kubelet.Options
	// Transport is how the forwarder reaches the functions: url (default), invoke, or
	// ByIdentity.
	Transport string
	// NoForwarder leaves it out: events are the caller's to send.
	NoForwarder bool
	// Install, if set, installs what is in the cluster, as soon as there is one, instead of
	// the plain manifests: ServiceAccount functions at least. Containers of the forwarder's
	// image then run its program on the nodes (HookAddress, DrainAddress), and none runs
	// outside.
	Install func(context.Context, *Stack) error
	// Audit has the API server write down who of the ServiceAccounts asked for what.
	Audit bool
	// Progress tells a person what takes time; Log gets what everything prints.
	Progress io.Writer
	Log      io.Writer
}

// Stack is everything, running.
type Stack struct {
	Dir     string
	Cluster *cluster.Cluster
	Nodes   *node.Fleet
	// Kubelet is the node with the real kubelet, nil without one.
	Kubelet *kubelet.Node
	CLB     *clb.Server
	SCF     *scf.Server
	Store   *tc3.Store
	// STS gives the forwarder's pods keys for their tokens.
	STS *sts.Server
	// Account signs API calls as a person with all rights would.
	Account tc3.Credential
	// Faults makes things go wrong.
	Faults *fault.Faults
	// EventSecret signs function URL requests.
	EventSecret string
	// Forwarder is the forwarder's process, nil without one.
	Forwarder *Process
	// ForwarderURL is where its health and metrics are.
	ForwarderURL string
	// Env is what serverless.yml was deployed with, Bundle the package that was.
	Env    map[string]string
	Bundle string

	o         Options
	keepDir   bool
	forwarder string     // its program
	service   *service   // its address
	link      *link.Link // its way to the API server
}

// Start starts everything and waits until it is ready. Cancelling ctx aborts the
// start. The caller must Close the stack.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	o = o.withDefaults()
	s := &Stack{Dir: o.StateDir, keepDir: o.StateDir != "", o: o, Store: &tc3.Store{}}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "clb-direct-"); err != nil {
			return nil, fmt.Errorf("making the state folder: %w", err)
		}
	} else if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.EventSecret, err = secret(); err != nil {
		return nil, err
	}
	key, err := secret()
	if err != nil {
		return nil, err
	}
	s.Account = tc3.Credential{SecretID: "AKIDlocaldev", SecretKey: key, Principal: "account"}
	s.Store.Add(s.Account)

	var programs programs
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.startCluster(gctx) })
	g.Go(func() (err error) {
		programs, err = build(gctx, o.Root, s.Dir)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s.Bundle, s.forwarder = programs.bundle, programs.forwarder
	o.say("control plane is up at %s", s.Cluster.Server)
	for _, step := range []func(context.Context) error{
		s.startService,
		s.install,
		s.startCLB,
		s.startSCF,
		s.startSTS,
		s.startLink,
		s.startNodes,
		s.startKubelet,
		s.startForwarder,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	s.Faults = fault.New(fault.Parts{CLB: s.CLB, SCF: s.SCF, Store: s.Store, Nodes: s.Nodes, Cluster: s.Cluster, Link: s.link})
	return s, nil
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *string
		value string
	}{{&o.Root, "."}, {&o.Claim, "annotation"}, {&o.Network, "global-router"}, {&o.Transport, "url"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if o.Kubelet != nil {
		o.CLB.PublicVIPs, o.CLB.InternalVIPs = kubelet.VIPs(*o.Kubelet)
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Log = &lines{w: o.Log}
	return o
}

func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Progress, format+"\n", args...) }

func (s *Stack) startCluster(ctx context.Context) (err error) {
	if s.o.Kubeconfig != "" {
		s.Cluster, err = cluster.Adopt(s.o.Kubeconfig)
		return err
	}
	s.Cluster, err = cluster.Start(ctx, cluster.Options{Root: s.o.Root, StateDir: filepath.Join(s.Dir, "cluster"), Audit: auditing(s.o), Progress: s.o.Progress, Log: s.o.Log})
	return err
}

func (s *Stack) startCLB(ctx context.Context) (err error) {
	o := s.o.CLB
	o.Store = s.Store
	o.Regions = []string{Region}
	s.CLB, err = clb.Start(context.WithoutCancel(ctx), o)
	return err
}

func (s *Stack) startSCF(ctx context.Context) error {
	token, err := s.Cluster.ServiceAccountToken(ctx, Namespace, "functions", 24*time.Hour)
	if err != nil {
		return fmt.Errorf("making the functions' token: %w", err)
	}
	return s.deploy(ctx, map[string]string{
		"STAGE": "dev", "REGION": Region, "VPC_ID": VPC, "SUBNET_ID": Subnet, "FUNCTION_ROLE_NAME": "clb-direct",
		"CLUSTER_ID": ClusterID, "CLAIM": s.o.Claim, "NETWORK": s.o.Network,
		"KUBE_SERVER":  s.Cluster.Server,
		"KUBE_CA":      base64.StdEncoding.EncodeToString(s.Cluster.CA),
		"KUBE_TOKEN":   token,
		"CLB_ENDPOINT": "http://" + s.CLB.Endpoint(),
		"EVENT_SECRET": s.EventSecret,
	}, filepath.Join(s.o.Root, "serverless.yml"))
}

func (s *Stack) deploy(ctx context.Context, env map[string]string, manifest string) (err error) {
	s.Env = env
	o := s.o.SCF
	o.Package, o.Manifest = s.Bundle, manifest
	o.Env, o.Store, o.Stderr = s.Env, s.Store, s.o.Log
	o.Timers = s.o.Timers
	if o.RolePolicies == nil {
		if o.RolePolicies, err = s.granted("functions.json"); err != nil {
			return err
		}
	}
	s.SCF, err = scf.Start(context.WithoutCancel(ctx), o)
	return err
}

// Deploy deploys what is in a clone of the tree, as the scf command line would: its
// serverless.yml with the .env beside it, and the package that `make package` left there.
// The functions' URLs are others then.
func (s *Stack) Deploy(ctx context.Context, dir string) error {
	env, err := variables(filepath.Join(dir, ".env"))
	if err != nil {
		return err
	}
	if err := s.SCF.Close(); err != nil {
		return err
	}
	s.Bundle = filepath.Join(dir, "out", "clb-direct.zip")
	return s.deploy(ctx, env, filepath.Join(dir, "serverless.yml"))
}

// variables reads NAME=value lines, a comment being a line of its own.
func variables(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("reading %s: %q is not NAME=value", path, line)
		}
		out[name] = value
	}
	return out, nil
}

func (s *Stack) startNodes(ctx context.Context) (err error) {
	if s.o.Nodes < 0 {
		return nil
	}
	o := s.o.Node
	o.Config, o.Nodes = s.Cluster.RESTConfig(), s.o.Nodes
	if s.o.Install != nil {
		o.Programs = map[string]node.Program{"forwarder": s.runForwarder}
	}
	o.Log = slog.New(slog.NewTextHandler(prefixed{s.o.Log, "node "}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.Nodes, err = node.Start(ctx, o)
	return err
}

// startLink makes a way to the API server that can go silent.
func (s *Stack) startLink(context.Context) error {
	server, err := url.Parse(s.Cluster.Server)
	if err != nil {
		return fmt.Errorf("reading the API server's address: %w", err)
	}
	target := server.Host
	if server.Port() == "" {
		target = net.JoinHostPort(server.Hostname(), "443")
	}
	s.link, err = link.Start(target)
	return err
}

// Close ends everything that Start started, in reverse, and nothing else.
func (s *Stack) Close() error {
	var errs []error
	errs = append(errs, s.StopForwarder())
	if s.service != nil {
		errs = append(errs, s.service.proxy.Close())
	}
	if s.SCF != nil {
		errs = append(errs, s.SCF.Close())
	}
	if s.STS != nil {
		errs = append(errs, s.STS.Close())
	}
	if s.Nodes != nil {
		errs = append(errs, s.Nodes.Close())
	}
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.Kubelet != nil {
		errs = append(errs, s.Kubelet.Close())
	}
	if s.CLB != nil {
		errs = append(errs, s.CLB.Close())
	}
	if s.Cluster != nil {
		errs = append(errs, s.Cluster.Stop())
	}
	if !s.keepDir {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}

// auditing is what of the ServiceAccounts is written down: everything of ours.
func auditing(o Options) []string {
	if !o.Audit {
		return nil
	}
	var users []string
	for _, name := range []string{"functions", "forwarder", "leave"} {
		users = append(users, "system:serviceaccount:"+Namespace+":"+name)
	}
	return users
}

func secret() (string, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("making a secret: %w", err)
	}
	return hex.EncodeToString(raw), nil
}
