package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// SCF wants the executable at the zip's root and executable (583/67385), and the same
// source should give the same bytes.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	executable := filepath.Join(dir, "main")
	if err := os.WriteFile(executable, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var packages [][]byte
	for _, name := range []string{"a/one.zip", "b/two.zip"} {
		out := filepath.Join(dir, name)
		size, err := pack(executable, out)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if size != int64(len(raw)) {
			t.Errorf("%s has %d bytes, reported were %d", name, len(raw), size)
		}
		packages = append(packages, raw)
	}
	if !bytes.Equal(packages[0], packages[1]) {
		t.Error("packing twice gives different bytes")
	}
	z, err := zip.NewReader(bytes.NewReader(packages[0]), int64(len(packages[0])))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Name+" "+f.Mode().String()+" "+string(body))
	}
	if diff := cmp.Diff([]string{"main -rwxr-xr-x program"}, got); diff != "" {
		t.Errorf("files of the package, -want +got:\n%s", diff)
	}
}
