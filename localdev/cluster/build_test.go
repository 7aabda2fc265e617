package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, data string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
}

func TestAssetsAreUsedWhereTheyAre(t *testing.T) {
	assets := t.TempDir()
	write(t, filepath.Join(assets, "kube-apiserver"), "", 0o755)
	write(t, filepath.Join(assets, "etcd"), "", 0o644)
	b := Binaries{Dir: "/built", Assets: assets}
	got := map[string]string{}
	for _, p := range []string{"etcd", "kube-apiserver", "kube-scheduler"} {
		got[p] = b.path(p)
	}
	want := map[string]string{
		"etcd":           "/built/etcd", // not executable
		"kube-apiserver": filepath.Join(assets, "kube-apiserver"),
		"kube-scheduler": "/built/kube-scheduler",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
}

func TestCompleteAssetsNeedNoBuild(t *testing.T) {
	assets := t.TempDir()
	for _, p := range programs {
		write(t, filepath.Join(assets, p), "", 0o755)
	}
	t.Setenv(assetsVariable, assets)
	b, err := Build(t.Context(), nil, BuildOptions{Root: "/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(assets, "kubectl"); b.Kubectl() != want {
		t.Errorf("kubectl: got %s, want %s", b.Kubectl(), want)
	}
}

func TestSourceHashNamesEverythingItDependsOn(t *testing.T) {
	source := t.TempDir()
	files := map[string]string{"go.mod": "module x", "go.sum": "", "main.go": "package main"}
	for name, data := range files {
		write(t, filepath.Join(source, name), data, 0o644)
	}
	hash := func(settings ...string) string {
		t.Helper()
		h, err := sourceHash(source, settings...)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hash("go1.26")
	if again := hash("go1.26"); again != first {
		t.Errorf("the same sources: %s, then %s", first, again)
	}
	if other := hash("go1.27"); other == first {
		t.Error("another toolchain has the same hash")
	}
	for name := range files {
		write(t, filepath.Join(source, name), files[name]+"\n", 0o644)
		if other := hash("go1.26"); other == first {
			t.Errorf("another %s has the same hash", name)
		}
		write(t, filepath.Join(source, name), files[name], 0o644)
	}
	write(t, filepath.Join(source, "more.go"), "package main", 0o644)
	if other := hash("go1.26"); other == first {
		t.Error("a further file has the same hash")
	}
}

func TestBuildsTakeTurns(t *testing.T) {
	cache := t.TempDir()
	unlock, err := lock(t.Context(), cache, "k", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var told bytes.Buffer
	if _, err := lock(ctx, cache, "k", &told); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: got %v, want to wait", err)
	}
	if !strings.Contains(told.String(), "waiting") {
		t.Errorf("progress while waiting: %q", told.String())
	}
	other, err := lock(t.Context(), cache, "another", io.Discard)
	if err != nil {
		t.Fatalf("another version's lock: %v", err)
	}
	other()
	unlock()
	again, err := lock(t.Context(), cache, "k", io.Discard)
	if err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	again()
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	source, cache := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "go.mod"), "module x\n\ngo 1.26\n", 0o644)
	write(t, filepath.Join(source, "main.go"), "package main\n\nfunc main() { undefined() }\n", 0o644)
	dir := filepath.Join(cache, "k")
	err := compile(t.Context(), source, dir, controlPlane, []string{"-trimpath"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("got %v, want what the compiler says", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMeterCounts(t *testing.T) {
	var out bytes.Buffer
	m := newMeter(&out, "the control plane", 3)
	for _, data := range []string{"a/b\nc", "/d\n"} {
		if _, err := m.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	m.show()
	m.finish(nil)
	for _, want := range []string{"3 packages to compile\n", "2 of 3 packages, ", "control plane built after "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("progress %q doesn't say %q", out.String(), want)
		}
	}
}
