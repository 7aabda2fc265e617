// Package docs holds README.md and docs/ to their word: every command in them is run from
// the text itself, here or by who else is named (package manual); every Event, alert and
// annotation of the code is written up; every link leads somewhere.
package docs

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/tests/manual"
)

const root = "../.."

// onKubelet has the commands run that need a node with the real kubelet, and nothing else.
var onKubelet = flag.Bool("kubelet", false, "run the commands that need a node with the real kubelet")

func pages(t *testing.T) manual.Manual {
	t.Helper()
	m, err := manual.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func targets(t *testing.T) map[string]manual.Target {
	t.Helper()
	out, err := manual.Targets(root)
	if err != nil || len(out) < 20 {
		t.Fatalf("%d targets: %v", len(out), err)
	}
	return out
}

func stages(t *testing.T) []string {
	t.Helper()
	out, err := manual.Stages(root)
	if err != nil || len(out) < 5 {
		t.Fatalf("%d stages: %v", len(out), err)
	}
	return out
}

func TestEveryBlockOfCommandsSaysWhoRunsIt(t *testing.T) {
	for _, b := range pages(t).Blocks() {
		if b.Shell() && !slices.Contains([]string{"ci", "stack", "up", "kubelet", "lifecycle"}, b.Test()) {
			t.Errorf("%s, %q: nobody runs this block: ```%s\n%s", b.Page, b.Heading, b.Info, b.Text)
		}
	}
}

func TestChineseReadmeHasTheSameBlocks(t *testing.T) {
	all := map[string][]manual.Block{}
	for _, b := range pages(t).Blocks() {
		name := b.Page
		b.Page, b.Heading = "", ""
		all[name] = append(all[name], b)
	}
	if diff := cmp.Diff(all["README.md"], all[manual.Chinese]); diff != "" {
		t.Errorf("-README.md +%s:\n%s", manual.Chinese, diff)
	}
}

// What is tested by CI is what CI runs.
func TestCommandsOfCIAreRunByCI(t *testing.T) {
	for _, b := range pages(t).By("ci") {
		for _, line := range b.Lines() {
			if !manual.Ran(stages(t), line) {
				t.Errorf("%s: %q is not run by .ci/run", b.Page, line)
			}
		}
	}
}

// Every command in the middle of the text is run by somebody, and every make target that
// is only named is there.
func TestEveryCommandInTheTextIsRun(t *testing.T) {
	m := pages(t)
	by := map[manual.Runner]int{}
	for command, on := range m.Inline() {
		who := m.Runner(command, targets(t), stages(t))
		by[who]++
		if who == manual.Nobody {
			t.Errorf("%v: `%s`: nobody runs it", on, command)
		}
	}
	for _, who := range []manual.Runner{manual.CI, manual.InBlock, manual.Long, manual.Cluster, manual.Up} {
		if by[who] == 0 {
			t.Errorf("no command is run by %q: %v", who, by)
		}
	}
}

// inline are the commands in the middle of the text that somebody runs.
func inline(t *testing.T, who manual.Runner) []string {
	t.Helper()
	m := pages(t)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.Inline())), func(c string) bool {
		return m.Runner(c, targets(t), stages(t)) != who
	})
}

// objects are those of the documents that whoever reads them would apply.
func objects(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, b := range pages(t).Blocks() {
		if strings.HasPrefix(b.Info, "yaml") && strings.Contains(b.Text, "kind:") && b.Page != manual.Chinese {
			out = append(out, b.Text)
		}
	}
	if len(out) == 0 {
		t.Fatal("there are no objects in the documents")
	}
	return out
}

// Commands on a stack of their own are run as they stand, and before it ends those that
// speak of one that `make up` left running.
func TestCommandsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a stack")
	}
	if *onKubelet {
		t.Skip("only those on the real kubelet")
	}
	m := pages(t)
	for _, b := range m.By("stack") {
		lines := b.Lines()
		last := len(lines) - 1
		if lines[0] != "make up" || lines[last] != "make down" {
			t.Fatalf("%s: %q begins with %q and ends with %q", b.Page, b.Heading, lines[0], lines[last])
		}
		s := begin(t)
		for _, line := range lines[:last] {
			s.run(line, "")
		}
		s.words["pod/default/name"] = "pod/default/" + s.output("kubectl get pods -o jsonpath='{.items[0].metadata.name}'")
		for _, b := range m.By("up") {
			for _, line := range b.Lines() {
				s.run(line, "")
			}
		}
		for _, command := range inline(t, manual.Up) {
			s.run(command, "")
		}
		for _, o := range objects(t) {
			s.run("kubectl apply --dry-run=server -f -", o)
		}
		s.run(lines[last], "")
	}
}

// A cluster of the reader's own stands for itself.
func TestCommandsOnAClusterOfYours(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a stack")
	}
	if *onKubelet {
		t.Skip("only those on the real kubelet")
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Root: root, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	commands := inline(t, manual.Cluster)
	if len(commands) == 0 {
		t.Fatal("no command is about a cluster of one's own")
	}
	s := begin(t)
	s.words["path/to/kubeconfig"] = c.Kubeconfig
	for _, command := range commands {
		s.run(command, "")
		s.run("make down", "")
	}
}

func TestCommandsOnTheRealKubelet(t *testing.T) {
	if !*onKubelet {
		t.Skip("needs root and a container runtime: `make e2e-kubelet` runs it with -args -kubelet")
	}
	s := begin(t)
	for _, b := range pages(t).By("kubelet") {
		for _, line := range b.Lines() {
			s.run(line, "")
		}
	}
}

// shell is a reader's, in the module's directory.
type shell struct {
	*testing.T
	// words replace the documents' examples.
	words map[string]string
}

// begin refuses to touch what somebody left running, and ends what is left running here.
func begin(t *testing.T) *shell {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".localdev.json")); err == nil {
		t.Fatal("`make up` runs here already: `make down` first")
	}
	s := &shell{t, map[string]string{}}
	t.Cleanup(func() { // it ends what make up started, and nothing else
		_, _ = s.try(context.WithoutCancel(t.Context()), "make down", "")
	})
	return s
}

// run runs a command; one that looks for what is not there yet is asked again, as a reader
// would.
func (s *shell) run(command, stdin string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 15*time.Minute) // the first build
	defer cancel()
	began := time.Now()
	for {
		out, err := s.try(ctx, command, stdin)
		if err == nil {
			s.Logf("%s: %.1f s", command, time.Since(began).Seconds())
			return out
		}
		if strings.HasPrefix(command, "make ") || time.Since(began) > time.Minute || ctx.Err() != nil {
			s.Fatalf("%s: %v\n%s", command, err, out)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (s *shell) output(command string) string {
	s.Helper()
	return strings.TrimSpace(s.run(command, ""))
}

func (s *shell) try(ctx context.Context, command, stdin string) (string, error) {
	for word, own := range s.words {
		command = strings.ReplaceAll(command, word, own)
	}
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		return "", fmt.Errorf("finding bin: %w", err)
	}
	cmd := manual.Shell(ctx, root, command)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH")) // its kubectl
	out, err := cmd.CombinedOutput()
	return string(out), err
}
