package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settings are those of the kernel's that the kubelet (container_manager_linux.go,
// setupKernelTunables) and the bridge plugin change for the whole machine.
var settings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward",
}

// readSettings remembers them.
func readSettings() map[string][]byte {
	out := map[string][]byte{}
	for _, name := range settings {
		if raw, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			out[name] = raw
		}
	}
	return out
}

// writeSettings puts back what has changed.
func writeSettings(was map[string][]byte) error {
	var errs []error
	for name, value := range was {
		path := filepath.Join("/proc/sys", name)
		now, err := os.ReadFile(path)
		if err == nil && string(now) == string(value) {
			continue
		}
		if err := os.WriteFile(path, value, 0); err != nil {
			errs = append(errs, fmt.Errorf("putting %s back: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// cgroupRoots are the roots of all hierarchies: of version 1 one for each controller.
func cgroupRoots() ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var roots []string
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[2] != "cgroup" && fields[2] != "cgroup2" || !strings.HasPrefix(fields[1], "/sys/fs/cgroup") {
			continue
		}
		if !slices.Contains(roots, fields[1]) {
			roots = append(roots, fields[1])
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted at /sys/fs/cgroup: the kubelet needs them")
	}
	return roots, nil
}

// makeCgroups makes the node's cgroup in each hierarchy.
func (s Spec) makeCgroups() error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		// Of version 2 a cgroup has only the controllers that its parent hands down. Where
		// that can't be changed the kubelet says what it misses.
		if raw, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
			for _, c := range strings.Fields(string(raw)) {
				_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0)
			}
		}
		if err := os.MkdirAll(filepath.Join(root, s.Cgroup), 0o755); err != nil {
			return fmt.Errorf("making the node's cgroup: %w", err)
		}
	}
	return nil
}

// sweepCgroups removes the node's cgroup and all below it. Nothing runs there any more,
// but the kernel may need a moment to see that.
func (s Spec) sweepCgroups() error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		top := filepath.Join(root, s.Cgroup)
		await(10*time.Second, func() bool {
			err = removeTree(top)
			return err == nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("removing the node's cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes folders, the deepest first; the files of cgroups can't be removed.
func removeTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
