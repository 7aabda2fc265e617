package kubelet

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"strings"
	"time"
)

// PauseImage is the sandbox's image.
const PauseImage = "registry.k8s.io/pause:3.10"

// programPath is where the program is in an image.
const programPath = "bin/container"

// Media types (OCI Image Format Specification 1.1).
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// registry is where all images come from: under whatever name one is pulled, it is the
// application, but for the sandbox's. It speaks as much of the OCI Distribution
// Specification as pulling takes.
type registry struct {
	server   *http.Server
	listener net.Listener
	// application and pause are manifests, blobs what they refer to, by digest.
	application, pause []byte
	blobs              map[string]blob
}

// blob is a piece of an image.
type blob struct {
	kind string
	data []byte
}

// newRegistry makes the images of a static program and serves them on loopback.
func newRegistry(program string) (*registry, error) {
	r := &registry{blobs: map[string]blob{}}
	layer, err := layerOf(program)
	if err != nil {
		return nil, err
	}
	if r.application, err = r.image(layer, "/"+programPath); err != nil {
		return nil, err
	}
	if r.pause, err = r.image(layer, "/"+programPath, "pause"); err != nil {
		return nil, err
	}
	if r.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("opening the registry: %w", err)
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = r.server.Serve(r.listener) }()
	return r, nil
}

// layerOf is a file system with nothing but a program, as a tar archive.
func layerOf(program string) ([]byte, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("reading the image's program: %w", err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, dir := range []string{"bin/", "dev/", "etc/", "proc/", "sys/", "tmp/", "var/", "var/run/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, fmt.Errorf("writing the layer: %w", err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: programPath, Size: int64(len(data)), Mode: 0o755}); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	return out.Bytes(), nil
}

// image makes an image of one layer and returns its manifest.
func (r *registry) image(layer []byte, entrypoint ...string) ([]byte, error) {
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": entrypoint},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding an image's configuration: %w", err)
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": r.add(configType, config),
		"layers": []any{r.add(layerType, layer)},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding an image's manifest: %w", err)
	}
	r.add(manifestType, manifest)
	return manifest, nil
}

// add keeps a blob and returns its descriptor.
func (r *registry) add(kind string, data []byte) map[string]any {
	r.blobs[digest(data)] = blob{kind, data}
	return map[string]any{"mediaType": kind, "digest": digest(data), "size": len(data)}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// URL is where the registry is.
func (r *registry) URL() string { return "http://" + r.listener.Addr().String() }

// ServeHTTP answers GET and HEAD of /v2/, /v2/<name>/manifests/<tag or digest> and
// /v2/<name>/blobs/<digest>.
func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	reference := path.Base(q.URL.Path)
	b, known := r.blobs[reference]
	switch kind := path.Base(path.Dir(q.URL.Path)); {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		http.Error(w, "this registry is for pulling", http.StatusMethodNotAllowed)
		return
	case strings.TrimSuffix(q.URL.Path, "/") == "/v2":
		return
	case kind == "manifests" && !strings.HasPrefix(reference, "sha256:"):
		b = blob{manifestType, r.application}
		if path.Base(path.Dir(path.Dir(q.URL.Path))) == "pause" {
			b.data = r.pause
		}
	case kind != "manifests" && kind != "blobs" || !known:
		http.NotFound(w, q)
		return
	}
	w.Header().Set("Content-Type", b.kind)
	w.Header().Set("Docker-Content-Digest", digest(b.data))
	w.Header().Set("Content-Length", fmt.Sprint(len(b.data)))
	if q.Method == http.MethodGet {
		_, _ = w.Write(b.data)
	}
}

func (r *registry) close() error { return r.server.Close() }
