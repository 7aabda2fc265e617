package machine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the node's first process. It returns when a program of the node's ends, or when
// commands do.
func Inside(path string, commands io.Reader, reports io.Writer) error {
	s, err := ReadSpec(path)
	if err == nil {
		err = s.live(commands, reports)
	}
	if err != nil {
		report(reports, err)
	}
	return err
}

func (s Spec) live(commands io.Reader, reports io.Writer) error {
	logs, err := s.openLogs("dbus", "containerd", "kubelet")
	if err != nil {
		return err
	}
	if err := s.mount(); err != nil {
		return err
	}
	nursery := newNursery()
	bus, err := nursery.start(logs["dbus"], s.DBus, "--nofork", "--nopidfile", "--config-file="+s.DBusConfig)
	if err != nil {
		return err
	}
	if err := awaitSocket(bus, BusSocket); err != nil {
		return err
	}
	logind, err := newLogind(BusSocket)
	if err != nil {
		return err
	}
	runtime, err := nursery.start(logs["containerd"], s.Containerd, "--config", s.ContainerdConfig)
	if err != nil {
		return err
	}
	if err := awaitSocket(runtime, ContainerdSocket); err != nil {
		return err
	}
	kubelet, err := nursery.start(logs["kubelet"], s.Kubelet[0], s.Kubelet[1:]...)
	if err != nil {
		return err
	}
	report(reports, nil)
	orders := make(chan string)
	go func() {
		defer close(orders)
		lines := bufio.NewScanner(commands)
		for lines.Scan() {
			orders <- lines.Text()
		}
	}()
	for {
		select {
		case <-bus.done:
			return bus.end()
		case <-runtime.done:
			return runtime.end()
		case <-kubelet.done:
			return kubelet.end()
		case order, ok := <-orders:
			if !ok {
				return nil
			}
			if err := logind.obey(order); err != nil {
				return err
			}
		}
	}
}

// openLogs opens the programs' logs before this machine's folders are out of sight.
func (s Spec) openLogs(names ...string) (map[string]*os.File, error) {
	logs := map[string]*os.File{}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(s.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, fmt.Errorf("opening a log: %w", err)
		}
		logs[name] = f
	}
	return logs, nil
}

// mount makes what is written here invisible from outside, and gone with us: /run is empty,
// /var is as outside until it is written to, the node's own data are in memory.
func (s Spec) mount() error {
	shade := filepath.Join(s.Dir, "inside")
	if err := os.MkdirAll(shade, 0o755); err != nil {
		return fmt.Errorf("making a folder to mount at: %w", err)
	}
	upper, work := filepath.Join(shade, "upper"), filepath.Join(shade, "work")
	steps := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", shade, "tmpfs", 0, "mode=755"},
		{"overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir=" + upper + ",workdir=" + work},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		{"tmpfs", ContainerdRoot, "tmpfs", 0, "mode=711"},
		{"tmpfs", KubeletRoot, "tmpfs", 0, "mode=755"},
	}
	for _, m := range steps {
		if m.kind == "overlay" {
			for _, dir := range []string{upper, work} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("making %s: %w", dir, err)
				}
			}
		}
		if m.target == ContainerdRoot || m.target == KubeletRoot {
			if err := os.MkdirAll(m.target, 0o755); err != nil {
				return fmt.Errorf("making %s: %w", m.target, err)
			}
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s at %s: %w", m.kind, m.target, err)
		}
	}
	return os.MkdirAll(filepath.Dir(BusSocket), 0o755)
}

// awaitSocket waits until a program listens.
func awaitSocket(c *child, path string) error {
	ok := await(time.Minute, func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil || c.ended()
	})
	if c.ended() {
		return c.end()
	}
	if !ok {
		return fmt.Errorf("%s did not listen at %s within a minute", c.name, path)
	}
	return nil
}

// explain says how a process ended.
func explain(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "by " + status.Signal().String()
	}
	return fmt.Sprintf("with %d", status.ExitStatus())
}
