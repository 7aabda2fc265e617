package kubelet

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
)

func TestQuartersOfTheClientsRange(t *testing.T) {
	cases := map[string]struct {
		reason  string
		clients string
		want    []string // node, public, internal, first client
	}{
		"Default": {"the default is split into four", "", []string{"10.89.0.1", "10.89.0.64/26", "10.89.0.128/26", "10.89.0.193"}},
		"Wider":   {"a wider range is split across bytes", "10.4.0.0/14", []string{"10.4.0.1", "10.5.0.0/16", "10.6.0.0/16", "10.7.0.1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var o Options
			if c.clients != "" {
				o.Clients = netip.MustParsePrefix(c.clients)
			}
			public, internal := VIPs(o)
			got := []string{machine.First(o.withDefaults().Clients).String(), public.String(), internal.String(), Client(o, 1).String()}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// What is pulled is whole: each descriptor's digest and size are those of what is served,
// and the layer holds the program.
func TestRegistry(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("static"), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := newRegistry(program)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	fetch := func(path string) (int, []byte) {
		t.Helper()
		res, err := http.Get(r.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, data
	}
	type descriptor struct {
		Digest string `json:"digest"`
		Size   int    `json:"size"`
	}
	for name, want := range map[string][]string{"library/nginx": {"/bin/container"}, "some/where/else": {"/bin/container"}, "pause": {"/bin/container", "pause"}} {
		_, raw := fetch("/v2/" + name + "/manifests/latest?ns=docker.io")
		var manifest struct {
			Config descriptor   `json:"config"`
			Layers []descriptor `json:"layers"`
		}
		if err := json.Unmarshal(raw, &manifest); err != nil {
			t.Fatalf("%s: %v in %s", name, err, raw)
		}
		if _, again := fetch("/v2/" + name + "/manifests/" + digest(raw)); !bytes.Equal(raw, again) {
			t.Errorf("%s: its manifest by digest is another", name)
		}
		var config struct {
			Config struct{ Entrypoint []string } `json:"config"`
		}
		for i, d := range append([]descriptor{manifest.Config}, manifest.Layers...) {
			_, data := fetch("/v2/" + name + "/blobs/" + d.Digest)
			if digest(data) != d.Digest || len(data) != d.Size {
				t.Errorf("%s: blob %d is %s of %d bytes, its descriptor says %+v", name, i, digest(data), len(data), d)
			}
			if i == 0 {
				if err := json.Unmarshal(data, &config); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if got := fileIn(t, data, programPath); got != "static" {
				t.Errorf("%s: the program in the layer is %q", name, got)
			}
		}
		if diff := cmp.Diff(want, config.Config.Entrypoint); diff != "" {
			t.Errorf("%s: entrypoint (-want +got):\n%s", name, diff)
		}
	}
	for path, want := range map[string]int{"/v2/": 200, "/v2/a/blobs/sha256:0": 404, "/v2/a/manifests/sha256:0": 404, "/v2/a/tags/list": 404, "/elsewhere": 404} {
		if got, _ := fetch(path); got != want {
			t.Errorf("GET %s: got %d, want %d", path, got, want)
		}
	}
	res, err := http.Post(r.URL()+"/v2/a/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("pushing: got %s, want 405", res.Status)
	}
}

func fileIn(t *testing.T, archive []byte, name string) string {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("looking for %s: %v", name, err)
		}
		if h.Name == name {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
	}
}

// Everything that the node reads or writes is either in its own folder or at a path that is
// its own inside.
func TestFilesNameNothingOfThisMachines(t *testing.T) {
	dir := t.TempDir()
	o := Options{Cluster: &cluster.Cluster{CA: []byte("ca")}}.withDefaults()
	path, err := layOut(o, dir, tools{containerd: "/usr/bin/containerd", dbus: "/usr/bin/dbus-daemon", plugins: "/usr/lib/cni"}, "/cache/kubelet", "http://127.0.0.1:5000")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := machine.ReadSpec(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/cache/kubelet", "--config=" + dir + "/kubelet.yaml", "--kubeconfig=" + dir + "/kubeconfig", "--root-dir=/var/lib/kubelet", "--hostname-override=kubelet-1", "--node-ip=10.89.0.1", "--v=2"}
	if diff := cmp.Diff(want, spec.Kubelet); diff != "" {
		t.Errorf("the kubelet's command line (-want +got):\n%s", diff)
	}
	raw, err := os.ReadFile(filepath.Join(dir, kubeletFile))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"cgroupRoot": "/" + DefaultCgroup, "failCgroupV1": false, "makeIPTablesUtilChains": false, "address": "10.89.0.1",
		"shutdownGracePeriod": "32s", "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
	} {
		if diff := cmp.Diff(want, config[field]); diff != "" {
			t.Errorf("KubeletConfiguration, %s (-want +got):\n%s", field, diff)
		}
	}
	if raw, err = os.ReadFile(filepath.Join(dir, containerdFile)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`root = "/var/lib/containerd"`, `state = "/run/containerd"`, `conf_dir = "` + dir + `/cni"`, `config_path = "` + dir + `/hosts"`, `restrict_oom_score_adj = true`} {
		if !strings.Contains(string(raw), line) {
			t.Errorf("containerd's configuration has no %s", line)
		}
	}
}

// Who lacks something is told all of it at once, and what to do.
func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findTools()
	if !errors.Is(err, ErrMissing) {
		t.Fatalf("want %v, got %v", ErrMissing, err)
	}
	for _, word := range []string{"containerd", "runc", "dbus-daemon", "ip", "apt-get install"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("want %q named in %q", word, err)
		}
	}
}
