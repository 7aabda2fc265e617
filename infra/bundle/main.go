// Command bundle makes the package that SCF gets: a zip with one static
// linux/amd64 executable, main, at its root and executable (SCF, "Go": 583/67385).
// It leaves the executable beside it, for the `scf` command line to upload.
package main

import (
	"archive/zip"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// maxBytes is the largest package we allow ourselves: a cold start begins with
// fetching it.
const maxBytes = 25 << 20

func main() {
	root := flag.String("root", ".", "directory of the module")
	dir := flag.String("dir", "dist", "where the executable goes")
	out := flag.String("o", "out/clb-direct.zip", "the zip to write")
	flag.Parse()
	if err := run(*root, *dir, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(root, dir, out string) error {
	executable := filepath.Join(dir, "main")
	if err := build(root, executable); err != nil {
		return err
	}
	size, err := pack(executable, out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: main, 0755, %.1f MB zipped\n", out, float64(size)/(1<<20))
	if size > maxBytes {
		return fmt.Errorf("%s has %d bytes, at most %d are wanted", out, size, maxBytes)
	}
	return nil
}

func build(root, executable string) error {
	abs, err := filepath.Abs(executable)
	if err != nil {
		return fmt.Errorf("finding %s: %w", executable, err)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", abs, "./functions")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the functions: %w", err)
	}
	return nil
}

// pack writes the zip. The time stamp is fixed, so that the same source gives the
// same bytes.
func pack(executable, out string) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return 0, fmt.Errorf("making the folder: %w", err)
	}
	in, err := os.Open(executable)
	if err != nil {
		return 0, fmt.Errorf("opening the executable: %w", err)
	}
	defer in.Close()
	f, err := os.Create(out)
	if err != nil {
		return 0, fmt.Errorf("creating the zip: %w", err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	h := &zip.FileHeader{Name: "main", Method: zip.Deflate, Modified: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return 0, fmt.Errorf("writing the zip: %w", err)
	}
	if _, err := io.Copy(w, in); err != nil {
		return 0, fmt.Errorf("writing the zip: %w", err)
	}
	if err := z.Close(); err != nil {
		return 0, fmt.Errorf("writing the zip: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("writing the zip: %w", err)
	}
	return info.Size(), f.Close()
}
