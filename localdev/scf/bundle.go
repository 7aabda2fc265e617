package scf

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// maxUnpacked is the largest code an SCF function may have, unpacked, in bytes
// ("Limits").
const maxUnpacked = 500 << 20

// unpack extracts the package into dir as SCF does into /var/user: with the mode bits
// of the archive, and read-only.
func unpack(archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()

	// A Root refuses names that lead out of it, whatever the archive says.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	var total uint64
	for _, f := range z.File {
		if total += f.UncompressedSize64; total > maxUnpacked {
			return fmt.Errorf("unpacked size above %d MB", maxUnpacked>>20)
		}
		if err := unpackFile(root, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func unpackFile(root *os.Root, f *zip.File) error {
	name := filepath.FromSlash(f.Name)
	if f.FileInfo().IsDir() {
		return root.MkdirAll(filepath.Clean(name), 0o755)
	}
	if !f.Mode().IsRegular() {
		return fmt.Errorf("neither file nor directory: %v", f.Mode())
	}
	if parent := filepath.Dir(name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	// A process that is forked while the file is open has it open, too, until it runs
	// its own program, and nobody can run the file meanwhile (ETXTBSY; golang.org/issue/22315).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	// Directories stay writable, or they could not be removed without root. The
	// files are what a function would have to change to change its own code.
	out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, f.Mode().Perm()&^0o222)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// checkHandler tells whether the platform would find the function's executable: at the
// root of the package, with the executable bit in the archive.
func checkHandler(dir, handler string) error {
	info, err := os.Stat(filepath.Join(dir, handler))
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
		return nil
	}
	what := "is not there"
	switch {
	case err == nil && info.Mode().IsRegular():
		what = "has no executable bit"
	case err == nil:
		what = "is not a regular file"
	}
	return fmt.Errorf("%d %s: handler %s at the root of the package %s", StatusHandlerNotFound, StatusHandlerNotFound, handler, what)
}
