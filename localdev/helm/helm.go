// Package helm runs helm, built from its module as the other tools are, for tests and
// local development: with a configuration of its own, on a cluster that the caller
// names, and no other.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Helm is the program and what it may know.
type Helm struct {
	program, home, kubeconfig string
}

// New builds helm from the tools module below root, or takes what was built before. home
// is a folder for its caches; kubeconfig names the cluster, "" for none: then only what
// needs no cluster works.
func New(ctx context.Context, root, home, kubeconfig string) (*Helm, error) {
	program, err := filepath.Abs(filepath.Join(root, "bin", "helm"))
	if err != nil {
		return nil, fmt.Errorf("finding helm: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "helm.sh/helm/v4/cmd/helm")
	build.Dir = filepath.Join(root, "tools")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building helm: %w\n%s", err, out)
	}
	return &Helm{program: program, home: home, kubeconfig: kubeconfig}, nil
}

// Program is where it is.
func (h *Helm) Program() string { return h.program }

// Run runs helm and gives what it printed; the error has that too.
func (h *Helm) Run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Env = h.Env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("running helm %s: %w\n%s%s", args[0], err, errs.Bytes(), out.Bytes())
	}
	return out.Bytes(), nil
}

// Env is the whole environment that helm sees: nothing of the user's own.
func (h *Helm) Env() []string {
	kubeconfig := h.kubeconfig
	if kubeconfig == "" {
		kubeconfig = os.DevNull
	}
	return []string{"HOME=" + h.home, "PATH=" + filepath.Dir(h.program), "KUBECONFIG=" + kubeconfig}
}
