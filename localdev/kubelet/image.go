package kubelet

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
)

// PauseImage is the sandbox's image, which is ours under the usual name.
const PauseImage = "registry.k8s.io/pause:3.10"

// image is an image of one static program.
type image struct {
	names      []string
	program    string // its file
	entrypoint []string
}

// layerPath is where the program is in the image.
const layerPath = "/bin/container"

// write writes the image as `docker save` does: a configuration, one layer, a manifest
// (Docker Image Specification v1.2.0, "Combined Image JSON + Filesystem Changeset Format").
func (i image) write(to io.Writer) error {
	program, err := os.ReadFile(i.program)
	if err != nil {
		return fmt.Errorf("reading the image's program: %w", err)
	}
	var layer bytes.Buffer
	inside := tar.NewWriter(&layer)
	for _, dir := range []string{"bin/", "dev/", "etc/", "proc/", "sys/", "tmp/", "var/", "var/run/"} {
		if err := inside.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return fmt.Errorf("writing the layer: %w", err)
		}
	}
	if err := addFile(inside, layerPath[1:], program, 0o755); err != nil {
		return err
	}
	if err := inside.Close(); err != nil {
		return fmt.Errorf("writing the layer: %w", err)
	}
	sum := sha256.Sum256(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": i.entrypoint},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's configuration: %w", err)
	}
	configSum := sha256.Sum256(config)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": i.names, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return fmt.Errorf("encoding the image's manifest: %w", err)
	}
	out := tar.NewWriter(to)
	for _, f := range []struct {
		name string
		data []byte
	}{{configName, config}, {"layer.tar", layer.Bytes()}, {"manifest.json", manifest}} {
		if err := addFile(out, f.name, f.data, 0o644); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

func addFile(to *tar.Writer, name string, data []byte, mode int64) error {
	if err := to.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Clean(name), Size: int64(len(data)), Mode: mode}); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := to.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
