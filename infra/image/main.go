// Command image builds the forwarder's container image without a container engine: one
// layer with one static executable, which carries the roots of trust that it needs, and
// nothing else: no shell, no libraries, no files to change. The same source gives the same
// image, byte for byte. `docker load`, `ctr image import`, `crane push` and the like take
// what it writes.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who the program runs as: nobody in particular, as infra/manifests have it.
const user = "65532:65532"

func main() {
	out := flag.String("o", "out/forwarder-image.tar", "the image to write")
	tag := flag.String("tag", "clb-direct/forwarder:latest", "the image's name")
	arch := flag.String("arch", "amd64", "the nodes' architecture: amd64 or arm64")
	flag.Parse()
	if err := run(*out, *tag, *arch); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(out, tag, arch string) error {
	if arch != "amd64" && arch != "arm64" {
		return fmt.Errorf("reading -arch: %q is neither amd64 nor arm64", arch)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("reading -tag: %w", err)
	}
	program, err := build(arch)
	if err != nil {
		return err
	}
	image, err := assemble(program, arch)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	if err := tarball.WriteToFile(out, ref, image); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("naming the image: %w", err)
	}
	fmt.Printf("%s: %s, %.1f MB of program, %s\n", out, tag, float64(len(program))/1e6, digest)
	return nil
}

// build compiles the forwarder, static and without what only debuggers read.
func build(arch string) (program []byte, err error) {
	dir, err := os.MkdirTemp("", "clb-direct-image-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "forwarder")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", file, "github.com/clb-direct/clb-direct/infra/forwarder")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building the forwarder: %w", err)
	}
	return os.ReadFile(file)
}

// assemble makes the image of the program.
func assemble(program []byte, arch string) (v1.Image, error) {
	layer, err := pack(program)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), layer)
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = arch, "linux"
	file.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	file.Config = v1.Config{
		Entrypoint: []string{"/forwarder"}, User: user,
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8443/tcp": {}},
		Labels:       map[string]string{"org.opencontainers.image.title": "clb-direct forwarder"},
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return nil, fmt.Errorf("writing the image's configuration: %w", err)
	}
	return image, nil
}

// pack makes a layer of one file that anybody may run and nobody may write.
func pack(program []byte) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "forwarder", Typeflag: tar.TypeReg, Mode: 0o555, Size: int64(len(program)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if _, err := w.Write(program); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		return nil, fmt.Errorf("making the layer: %w", err)
	}
	return layer, nil
}
