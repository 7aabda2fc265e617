package serverless

import (
	"archive/zip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's directory.
const root = "../.."

// bundle is the package as `make package` makes it, made once.
var bundle string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "serverless-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bundle = filepath.Join(dir, "package.zip")
	cmd := exec.Command("go", "run", "./infra/bundle", "-dir", filepath.Join(dir, "dist"), "-o", bundle)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "making the package: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// executables are those at the root of the package.
func executables(t *testing.T) []string {
	t.Helper()
	z, err := zip.OpenReader(bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	names := []string{}
	for _, f := range z.File {
		if f.Mode().IsRegular() && f.Mode().Perm()&0o111 == 0o111 && !strings.Contains(f.Name, "/") {
			names = append(names, f.Name)
		}
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// exampleEnv is .env.example as the command line reads it: what follows the first equals
// sign is the value, a comment is a line of its own.
func exampleEnv(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{}
	for line := range strings.Lines(read(t, ".env.example")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if _, twice := env[name]; !found || twice || strings.ContainsAny(value, " #") {
			t.Errorf(".env.example: %q: want NAME=value, once, and no comment behind it", line)
		}
		env[name] = value
	}
	return env
}
