package stack

import (
	"context"
	"path/filepath"

	"github.com/clb-direct/clb-direct/localdev/kubelet"
)

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
