package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// files are what an image has, by name.
func files(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	r := mutate.Extract(image)
	defer r.Close()
	out := map[string][]byte{}
	for all := tar.NewReader(r); ; {
		h, err := all.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode&0o222 != 0 {
			t.Errorf("%s may be written: %o", h.Name, h.Mode)
		}
		if out[h.Name], err = io.ReadAll(all); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImageHoldsOneStaticProgram builds the image as `make image` does.
func TestImageHoldsOneStaticProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the forwarder")
	}
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := run(out, "clb-direct/forwarder:test", "amd64"); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Errorf("the image is not as it says: %v", err)
	}
	all := files(t, image)
	program, ok := all["forwarder"]
	if !ok || len(all) != 1 {
		t.Fatalf("%d files, want the forwarder alone", len(all))
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it needs %v (%v), want a static program", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it asks for an interpreter")
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != user || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("runs as %q on %s/%s", config.Config.User, config.OS, config.Architecture)
	}
	if diff := cmp.Diff([]string{"/forwarder"}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint: -want +got\n%s", diff)
	}
}

// The same program gives the same image.
func TestImageIsReproducible(t *testing.T) {
	var digests []v1.Hash
	for range 2 {
		image, err := assemble([]byte("program"), "arm64")
		if err != nil {
			t.Fatal(err)
		}
		d, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	if digests[0] != digests[1] {
		t.Errorf("%s and %s", digests[0], digests[1])
	}
}

func TestRunRefusesWithTheFlagAtFault(t *testing.T) {
	for name, args := range map[string][2]string{"-arch": {"a:b", "mips"}, "-tag": {"A B", "amd64"}} {
		if err := run(t.TempDir()+"/x", args[0], args[1]); err == nil || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("%v: got %v, want one that names %s", args, err, name)
		}
	}
}
