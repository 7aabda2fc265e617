package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// mainModule is the module whose tree holds the control plane's own module.
	mainModule = "github.com/clb-direct/clb-direct"
	// assetsVariable names a folder with etcd, kube-apiserver and kubectl, as
	// controller-runtime's envtest has it.
	assetsVariable = "KUBEBUILDER_ASSETS"
	// builtName is the one binary that is all the programs.
	builtName = "controlplane"
)

// product is what is built from a module of its own below the main one.
type product struct {
	// about names it for a person, file is its program, module where its module is.
	about, file, module string
	// links are names that the program is called by besides its own.
	links []string
}

// programs are the names the built binary answers to.
var programs = []string{string(Etcd), string(APIServer), string(ControllerManager), string(Scheduler), "kubectl"}

var (
	controlPlane = product{about: "the control plane", file: builtName, module: "localdev/cluster/controlplane", links: programs}
	kubelet      = product{about: "the kubelet", file: "kubelet", module: "localdev/cluster/kubelet"}
)

// BuildOptions say where Build finds the sources and keeps the result.
type BuildOptions struct {
	// Root is the directory of the main module. Default: asked of the go command
	// in the working directory.
	Root string
	// CacheDir holds one folder for each version of the sources. Default:
	// clb-direct/controlplane below os.UserCacheDir.
	CacheDir string
}

// Binaries are the programs of a control plane.
type Binaries struct {
	// Dir holds a program (or a link to one) under each component's name, and
	// kubectl.
	Dir string
	// Assets is the folder of programs taken in place of ours where it has them.
	Assets string
}

// Kubectl returns the path of kubectl.
func (b Binaries) Kubectl() string { return b.path("kubectl") }

func (b Binaries) path(program string) string {
	if b.Assets != "" {
		if path := filepath.Join(b.Assets, program); executable(path) {
			return path
		}
	}
	return filepath.Join(b.Dir, program)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// Build returns the control plane's programs, built from their Go modules at
// the first call and taken from the cache after that. A build takes minutes
// where Go's own cache is empty; progress is told of it. Two processes that
// build the same at once take turns. What KUBEBUILDER_ASSETS has is used in
// place of ours, and nothing is built if it has it all.
func Build(ctx context.Context, progress io.Writer, opts BuildOptions) (Binaries, error) {
	if progress == nil {
		progress = io.Discard
	}
	assets := os.Getenv(assetsVariable)
	if assets != "" && !slices.ContainsFunc(programs, func(p string) bool { return !executable(filepath.Join(assets, p)) }) {
		return Binaries{Dir: assets}, nil
	}
	dir, err := made(ctx, progress, opts, controlPlane)
	return Binaries{Dir: dir, Assets: assets}, err
}

// BuildKubelet returns the path of the kubelet of the control plane's version, built and
// kept as Build does. Where the control plane has been built it takes a minute.
func BuildKubelet(ctx context.Context, progress io.Writer, opts BuildOptions) (string, error) {
	if progress == nil {
		progress = io.Discard
	}
	dir, err := made(ctx, progress, opts, kubelet)
	return filepath.Join(dir, kubelet.file), err
}

// made returns the folder with a product, built if need be.
func made(ctx context.Context, progress io.Writer, opts BuildOptions, p product) (string, error) {
	source, err := sourceDir(ctx, opts.Root, p.module)
	if err != nil {
		return "", err
	}
	cache := opts.CacheDir
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache folder: %w", err)
		}
		cache = filepath.Join(user, "clb-direct", "controlplane")
	}
	goVersion, err := goCommand(ctx, source, "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	flags, err := buildFlags(ctx, source)
	if err != nil {
		return "", err
	}
	key, err := sourceHash(source, append(flags, goVersion, runtime.GOOS, runtime.GOARCH)...)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	if executable(filepath.Join(dir, p.file)) {
		return dir, nil
	}
	unlock, err := lock(ctx, cache, key, progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if executable(filepath.Join(dir, p.file)) {
		return dir, nil
	}
	return dir, compile(ctx, source, dir, p, flags, progress)
}

// sourceDir finds a product's module. The main module's root is asked
// of the go command, which also knows it when the module is a dependency.
func sourceDir(ctx context.Context, root, module string) (string, error) {
	if root == "" {
		var err error
		if root, err = goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", mainModule); err != nil {
			return "", fmt.Errorf("finding the sources: %w", err)
		}
	}
	dir := filepath.Join(root, filepath.FromSlash(module))
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("finding the sources: %w", err)
	}
	return dir, nil
}

// sourceHash names a build by everything it depends on: module files, which pin
// every dependency, sources, and the settings: flags, toolchain, platform.
func sourceHash(source string, settings ...string) (string, error) {
	names, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", err
	}
	names = append(names, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum"))
	slices.Sort(names)
	sum := sha256.New()
	fmt.Fprintln(sum, strings.Join(settings, "\n"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("hashing the sources: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(name), len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// lock takes the build of one version for this process, waiting for another
// process that has it.
func lock(ctx context.Context, cache, key string, progress io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cache, key+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the build's lock: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			// Closing the file gives the lock back; so does the process's end.
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking the build: %w", err)
		}
		if !told {
			fmt.Fprintln(progress, "waiting for another process that builds the control plane")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("awaiting the build's lock: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// compile builds a product into dir. The folder appears whole or not at all.
func compile(ctx context.Context, source, dir string, p product, flags []string, progress io.Writer) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".building-")
	if err != nil {
		return fmt.Errorf("making the build's folder: %w", err)
	}
	defer os.RemoveAll(tmp)

	fmt.Fprintf(progress, "building %s (once): looking up what Go has built before\n", p.about)
	stale, err := goCommand(ctx, source, append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, append(flags, ".")...)...)
	if err != nil {
		return err
	}
	meter := newMeter(progress, p.about, len(strings.Fields(stale)))
	cmd := goCmd(ctx, source, append([]string{"build", "-v", "-o", filepath.Join(tmp, p.file)}, append(flags, ".")...)...)
	var failure bytes.Buffer
	cmd.Stderr = io.MultiWriter(&failure, meter)
	err = cmd.Run()
	meter.finish(err)
	if err != nil {
		return fmt.Errorf("compiling: %w: %s", err, lastLines(failure.String(), 20))
	}
	for _, name := range p.links {
		if err := os.Symlink(p.file, filepath.Join(tmp, name)); err != nil {
			return fmt.Errorf("naming the programs: %w", err)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("opening the build's folder: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("placing the build: %w", err)
	}
	return nil
}

// buildFlags are the flags of every build; with other ones Go would compile all
// 2,700 packages anew. The version is what Kubernetes' own build puts in: an API
// server without it calls itself v0.0.0.
func buildFlags(ctx context.Context, source string) ([]string, error) {
	version, err := goCommand(ctx, source, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return nil, fmt.Errorf("finding the version: %w", err)
	}
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("finding the version: %q of k8s.io/kubernetes is not a release", version)
	}
	ldflags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, set := range []string{"gitVersion=" + version, "gitMajor=" + parts[0], "gitMinor=" + parts[1], "gitTreeState=clean"} {
			ldflags += " -X " + pkg + "." + set
		}
	}
	return []string{"-trimpath", "-ldflags=" + ldflags}, nil
}

// goCmd prepares a go command in the nested module, with nothing of the
// caller's own settings for the main one.
func goCmd(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// The compiler makes much garbage; with memory to spare a third of the time
	// goes to collecting it.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOGC=800", "GOWORK=off", "GOFLAGS=-buildvcs=false", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	return cmd
}

func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := goCmd(ctx, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running go %s: %w: %s", args[0], err, lastLines(stderr.String(), 5))
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
