package manual

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunner(t *testing.T) {
	m := Manual{"README.md": "```sh test=up\nmake check A=b\nmake up NODE=kubelet\n```\n"}
	targets := map[string]Target{
		"demo": {}, "test": {Needs: []string{"race"}}, "race": {}, "fuzz": {}, "check": {}, "up": {},
		"bench": {Help: "how fast (report: out/bench.json)"}, "help": {},
	}
	stages := []string{"make demo", "make test", "make fuzz TIME=1"}
	for command, want := range map[string]Runner{
		"make demo":             CI,
		"make race":             CI, // by make test
		"make fuzz":             CI, // with an argument
		"make race ONLY=x":      Up, // which nobody has run so
		"make check":            InBlock,
		"make check C=d":        Up,
		"make up NODE=kubelet":  InBlock,
		"make bench":            Long,
		"make bench ROUNDS=1":   Long,
		"make up CLUSTER=a/b":   Cluster,
		"make help":             Up,
		"kubectl get pods":      Up,
		"make nothing":          Nobody,
		"make demo-of-the-past": Nobody,
	} {
		if diff := cmp.Diff(want, m.Runner(command, targets, stages)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", command, diff)
		}
	}
}
