package stack

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/localdev/cluster"
)

func lockThread() { runtime.LockOSThread() }

// programs are what was built.
type programs struct{ bundle, forwarder string }

// build makes the functions' package, as it would be uploaded, and the forwarder.
func build(ctx context.Context, root, dir string) (programs, error) {
	out := programs{bundle: filepath.Join(dir, "clb-direct.zip"), forwarder: filepath.Join(dir, "forwarder")}
	for _, p := range []*string{&out.bundle, &out.forwarder} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return out, fmt.Errorf("finding %s: %w", *p, err)
		}
		*p = abs
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return goTool(ctx, root, "run", "./infra/bundle", "-dir", filepath.Join(dir, "dist"), "-o", out.bundle)
	})
	g.Go(func() error {
		return goTool(ctx, root, "build", "-trimpath", "-o", out.forwarder, "./infra/forwarder")
	})
	return out, g.Wait()
}

func goTool(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running go %s: %w\n%s", args[0], err, output.String())
	}
	return nil
}

// here are the kinds of our manifests that make sense without a container engine:
// the forwarder itself runs as a process.
var here = []string{"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "IngressClass", "CustomResourceDefinition", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}

// install applies the CRD and the permissions, as they stand in infra.
func (s *Stack) install(ctx context.Context) error {
	if s.o.Install != nil {
		return s.o.Install(ctx, s)
	}
	var first, docs bytes.Buffer // namespaces before what lives in them
	for _, pattern := range []string{"infra/crd/*.yaml", "infra/manifests/*.yaml", "infra/policy/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(s.o.Root, pattern))
		if err != nil {
			return fmt.Errorf("finding manifests: %w", err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("reading manifests: %w", err)
			}
			for _, doc := range bytes.Split(raw, []byte("\n---")) {
				var kind struct {
					Kind string `json:"kind"`
				}
				if err := yaml.Unmarshal(doc, &kind); err != nil {
					return fmt.Errorf("reading %s: %w", file, err)
				}
				to := &docs
				if kind.Kind == "Namespace" {
					to = &first
				}
				if slices.Contains(here, kind.Kind) {
					fmt.Fprintf(to, "---\n%s\n", doc)
				}
			}
		}
	}
	first.Write(docs.Bytes())
	return s.Kubectl(ctx, &first, "apply", "-f", "-")
}

// Kubectl runs kubectl against the stack's cluster, and no other.
func (s *Stack) Kubectl(ctx context.Context, stdin *bytes.Buffer, args ...string) error {
	out, err := s.kubectl(ctx, stdin, args...)
	if err != nil {
		return fmt.Errorf("running kubectl %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// KubectlOutput runs kubectl and gives what it printed.
func (s *Stack) KubectlOutput(ctx context.Context, args ...string) ([]byte, error) {
	return s.kubectl(ctx, nil, args...)
}

func (s *Stack) kubectl(ctx context.Context, stdin *bytes.Buffer, args ...string) ([]byte, error) {
	program, err := s.KubectlPath(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"--kubeconfig", s.Cluster.Kubeconfig}, args...)...)
	cmd.Env = []string{"HOME=" + s.Dir} // no cache or configuration of the user's own
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return cmd.CombinedOutput()
}

// KubectlPath is where kubectl is; for a cluster of the user's own it is built.
func (s *Stack) KubectlPath(ctx context.Context) (string, error) {
	bins := s.Cluster.Binaries
	if bins.Dir == "" {
		var err error
		if bins, err = cluster.Build(ctx, s.o.Progress, cluster.BuildOptions{Root: s.o.Root}); err != nil {
			return "", err
		}
	}
	return bins.Kubectl(), nil
}

// writeKubeconfig writes a kubeconfig for a bearer token, by way of another address than
// the cluster's own.
func writeKubeconfig(path, by string, c *cluster.Cluster, token string) error {
	server, err := url.Parse(c.Server)
	if err != nil {
		return fmt.Errorf("reading the API server's address: %w", err)
	}
	name := server.Hostname() // in its certificate
	server.Host = by
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: server.String(), TLSServerName: name, CertificateAuthorityData: c.CA}
	cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	cfg.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	cfg.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
