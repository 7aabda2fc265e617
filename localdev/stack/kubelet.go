package stack

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/clb-direct/clb-direct/localdev/kubelet"
)

// Client is the address of the nth client, counted from 1 to 99: one that pods can answer to.
func (s *Stack) Client(n int) string {
	if s.o.Kubelet != nil {
		return kubelet.Client(*s.o.Kubelet, n).String()
	}
	return fmt.Sprintf("127.10.0.%d", n)
}

// startKubelet starts the node with the real kubelet, if there is to be one.
func (s *Stack) startKubelet(ctx context.Context) (err error) {
	if s.o.Kubelet == nil {
		return nil
	}
	o := *s.o.Kubelet
	o.Cluster, o.Root, o.Progress = s.Cluster, s.o.Root, s.o.Progress
	o.StateDir = filepath.Join(s.Dir, "kubelet")
	s.Kubelet, err = kubelet.Start(ctx, o)
	return err
}
