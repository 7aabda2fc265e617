package kubelet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
)

// build makes the keeper and the containers' program.
func build(ctx context.Context, root, dir string) (keeper, container string, err error) {
	keeper, container = filepath.Join(dir, "keeper"), filepath.Join(dir, "container")
	g, gctx := errgroup.WithContext(ctx)
	for out, pkg := range map[string]string{keeper: "keeper", container: "container"} {
		g.Go(func() error {
			cmd := exec.CommandContext(gctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./localdev/kubelet/"+pkg)
			cmd.Dir = root
			// A container has no C library.
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
			}
			return nil
		})
	}
	return keeper, container, g.Wait()
}

// keeper is the process that keeps the machine, and takes it away when we let go of its
// standard input, which the kernel does for us should we be killed.
type keeper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	log   string
	done  chan struct{}
	err   error
	final string // the last reason it reported
}

func startKeeper(ctx context.Context, program, spec, dir string, progress io.Writer) (_ *keeper, err error) {
	k := &keeper{log: filepath.Join(dir, "keeper.log"), done: make(chan struct{})}
	log, err := os.Create(k.log)
	if err != nil {
		return nil, fmt.Errorf("making the keeper's log: %w", err)
	}
	defer log.Close()
	k.cmd = exec.Command(program, "keep", spec)
	k.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	k.cmd.Stderr = log
	// A Ctrl-C in the terminal is ours to handle: we end things in order.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	up := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			reason, failed := strings.CutPrefix(lines.Text(), machine.ReportFailed)
			switch {
			case lines.Text() == machine.ReportUp:
				close(up)
			case lines.Text() == machine.ReportWaiting:
				fmt.Fprintln(progress, "waiting for another node with a real kubelet on this machine to end")
			case failed:
				if text, err := strconv.Unquote(reason); err == nil {
					k.final = text
				}
			}
		}
		k.err = k.cmd.Wait()
		close(k.done)
	}()
	select {
	case <-up:
		return k, nil
	case <-k.done:
		return nil, k.end()
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), k.stop())
	}
}

func (k *keeper) ended() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// end says why it ended, after it has.
func (k *keeper) end() error {
	if k.final != "" {
		return errors.New(k.final)
	}
	raw, _ := os.ReadFile(k.log)
	return fmt.Errorf("the node ended: %w: %s", k.err, bytes.TrimSpace(raw))
}

func (k *keeper) order(command string) error {
	if _, err := fmt.Fprintln(k.in, command); err != nil {
		return fmt.Errorf("telling the node %q: %w", command, err)
	}
	return nil
}

// stop lets go of it and waits until it has taken everything away.
func (k *keeper) stop() error {
	closed := k.in.Close()
	<-k.done
	if k.err != nil {
		return k.end()
	}
	if errors.Is(closed, os.ErrClosed) {
		return nil
	}
	return closed
}
