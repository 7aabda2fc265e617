package kubelet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Packages are Debian's packages with all that a node needs beside the kubelet.
const Packages = "containerd runc containernetworking-plugins iproute2 dbus-daemon"

// pluginDirs are where CNI plugins are: Debian's, and the usual one.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

// tools are the programs that were found.
type tools struct {
	containerd, dbus, plugins string
}

// ErrMissing says that this machine has not what a node with a real kubelet needs.
var ErrMissing = errors.New("a node with a real kubelet can't run here")

// findTools looks for what is needed and names all that is missing at once.
func findTools() (tools, error) {
	var t tools
	var missing []string
	if runtime.GOOS != "linux" {
		return t, fmt.Errorf("%w: it needs Linux", ErrMissing)
	}
	if os.Geteuid() != 0 {
		missing = append(missing, "it needs root, for namespaces, network interfaces and cgroups")
	}
	var absent []string
	for _, p := range []struct {
		name string
		path *string
	}{{"containerd", &t.containerd}, {"dbus-daemon", &t.dbus}, {"runc", new(string)}, {"ip", new(string)}} {
		found, err := exec.LookPath(p.name)
		if err != nil {
			absent = append(absent, p.name)
			continue
		}
		*p.path = found
	}
	for _, dir := range pluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil && t.plugins == "" {
			t.plugins = dir
		}
	}
	if t.plugins == "" {
		absent = append(absent, "the CNI plugin bridge (in "+strings.Join(pluginDirs, " or ")+")")
	}
	if len(absent) > 0 {
		missing = append(missing, fmt.Sprintf("there is no %s; on Debian: apt-get install --no-install-recommends %s", strings.Join(absent, ", "), Packages))
	}
	if len(missing) > 0 {
		return t, fmt.Errorf("%w: %s", ErrMissing, strings.Join(missing, "; "))
	}
	return t, nil
}
