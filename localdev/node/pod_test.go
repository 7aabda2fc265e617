package node

import (
	"testing"
)

func TestPodBecomesReady(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(nil))
	t.Logf("%+v", pod.Status)
}
