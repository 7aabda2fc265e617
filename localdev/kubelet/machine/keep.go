package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Keep makes the machine, starts its inside and waits until commands end or ctx does; then
// it takes away all that it made. Commands are handed on to the inside, and its report to
// reports. Specs come from the file at path, which the inside reads too.
func Keep(ctx context.Context, path string, commands io.Reader, reports io.Writer) (err error) {
	s, err := ReadSpec(path)
	if err != nil {
		report(reports, err)
		return err
	}
	// Interfaces and cgroups have fixed names: whoever holds this has them. The kernel
	// gives it back when we end in whatever way, so what is there of ours then is left
	// over from a keeper that was killed.
	lock, err := s.lock(ctx, reports)
	if err != nil {
		report(reports, err)
		return err
	}
	defer lock.Close()
	was := readSettings()
	defer func() {
		err = errors.Join(err, s.sweepLinks(), s.sweepCgroups(), writeSettings(was))
	}()
	if err := errors.Join(s.sweepLinks(), s.sweepCgroups()); err != nil {
		report(reports, err)
		return err
	}
	for _, step := range []func() error{s.makeLinks, s.makeCgroups} {
		if err := step(); err != nil {
			report(reports, err)
			return err
		}
	}
	return within(ctx, path, commands, reports)
}

// lock takes the one place for a node on this machine, waiting for it as long as may be.
func (s Spec) lock(ctx context.Context, reports io.Writer) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.WaitSeconds)*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := s.WaitSeconds == 0; ; {
		lock, err := net.Listen("unix", LockAddress)
		if err == nil {
			return lock, nil
		}
		if !told {
			told = true
			fmt.Fprintln(reports, ReportWaiting)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("another node with a real kubelet runs on this machine, which has room for one: end it first (%w)", err)
		}
	}
}

// within runs the inside in namespaces of its own until commands or ctx end.
func within(ctx context.Context, path string, commands io.Reader, reports io.Writer) error {
	cmd := exec.Command("/proc/self/exe", "inside", path)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.Stdout, cmd.Stderr = reports, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Setsid:     true, Pdeathsig: syscall.SIGKILL,
	}
	ended := make(chan error, 1)
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread that started the child ends.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		err = fmt.Errorf("making namespaces: %w", err)
		report(reports, err)
		return err
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		lines := bufio.NewScanner(commands)
		for lines.Scan() {
			if _, err := fmt.Fprintln(in, lines.Text()); err != nil {
				return
			}
		}
	}()
	select {
	case err := <-ended:
		if err != nil {
			err = fmt.Errorf("the node's first process ended: %w", err)
		}
		return err
	case <-left:
	case <-ctx.Done():
	}
	// All that runs there ends with the first process; the kernel waits for them before it
	// lets us wait for that one.
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the node: %w", err)
	}
	<-ended
	return nil
}
