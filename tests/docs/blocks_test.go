// Package docs holds README.md and docs/ to their word: every command in them is run from
// the text itself, or, where it takes an account, checked in form; every Event, alert and
// annotation of the code is written up; every link leads somewhere.
//
// The fence of a block of commands says how it is tested:
//
//	```sh test=ci       each line is run, as it stands, by .ci/run (or by a target that it runs)
//	```sh test=stack    run here, line by line, on what it starts itself
//	```sh test=machine  needs what not every machine has, and CI runs another of its kind: in form
//	```sh test=account  needs an account: targets, files, flags and the chart's values are checked
package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/helm"
)

const root = "../.."

// pages are the documents, by their path below the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("finding %s: %v %v", pattern, found, err)
		}
		for _, path := range found {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = string(raw)
		}
	}
	return out
}

// block is a fenced one.
type block struct {
	page, info string
	lines      []string
}

func (b block) test() string {
	_, how, _ := strings.Cut(b.info, "test=")
	return how
}

var fence = regexp.MustCompile("(?ms)^ *```([^\n]*)\n(.*?)^ *```")

func blocks(t *testing.T) []block {
	t.Helper()
	var out []block
	for page, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			b := block{page: page, info: m[1]}
			for line := range strings.SplitSeq(m[2], "\n") {
				if command, _, _ := strings.Cut(line, " # "); strings.TrimSpace(command) != "" {
					b.lines = append(b.lines, strings.TrimSpace(command))
				}
			}
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(a, b block) int { return strings.Compare(a.page, b.page) })
	return out
}

// tested are the blocks that say that they are tested so. The Chinese README has those of
// the English one.
func tested(t *testing.T, how string) []block {
	t.Helper()
	var out []block
	for _, b := range blocks(t) {
		if b.test() == how && b.page != "README.zh.md" {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no block is tested by %s", how)
	}
	return out
}

func TestEveryBlockOfCommandsSaysHowItIsTested(t *testing.T) {
	for _, b := range blocks(t) {
		shell := strings.HasPrefix(b.info, "sh") || strings.HasPrefix(b.info, "bash") || strings.HasPrefix(b.info, "console")
		if shell && !slices.Contains([]string{"ci", "stack", "machine", "account"}, b.test()) {
			t.Errorf("%s: a block of commands is tested nowhere: ```%s\n%s", b.page, b.info, strings.Join(b.lines, "\n"))
		}
	}
}

func TestChineseReadmeHasTheSameBlocks(t *testing.T) {
	all := map[string][]block{}
	for _, b := range blocks(t) {
		name := b.page
		b.page = ""
		all[name] = append(all[name], b)
	}
	if diff := cmp.Diff(all["README.md"], all["README.zh.md"], cmp.AllowUnexported(block{})); diff != "" {
		t.Errorf("-README.md +README.zh.md:\n%s", diff)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// targets are those of the Makefile.
func targets(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		out[m[1]] = true
	}
	return out
}

// What is tested by CI is what CI runs.
func TestCommandsOfCIAreRunByCI(t *testing.T) {
	ci := read(t, ".ci/run")
	for _, b := range tested(t, "ci") {
		for _, line := range b.lines {
			if !regexp.MustCompile(`(?m)^stage [a-z0-9-]+ ` + regexp.QuoteMeta(line) + `( |$)`).MatchString(ci) {
				t.Errorf("%s: %q is not run by .ci/run", b.page, line)
			}
		}
	}
}

// Every make target that the text names is there.
func TestTargetsThatAreNamedExist(t *testing.T) {
	known := targets(t)
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("`make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				t.Errorf("%s names `make %s`, which isn't there", page, m[1])
			}
		}
	}
}

// Commands that need an account: what can be known without one.
func TestCommandsThatNeedAnAccountAreWellFormed(t *testing.T) {
	known := targets(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // helm's first build
	defer cancel()
	h, err := helm.New(ctx, root, t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range slices.Concat(tested(t, "account"), tested(t, "machine")) {
		if text := pages(t)[b.page]; b.test() == "account" && !strings.Contains(strings.ToLower(text), "needs an account") {
			t.Errorf("%s doesn't say that its commands need an account", b.page)
		}
		for _, line := range b.lines {
			words := strings.Fields(line)
			switch words[0] {
			case "make":
				if !known[words[1]] {
					t.Errorf("%s: %q: there is no such target", b.page, line)
				}
			case "helm":
				checkHelm(t, h, b.page, words)
			case "kubectl", "cp":
				checkFiles(t, b.page, words)
			default:
				t.Errorf("%s: %q is no command that is known here", b.page, line)
			}
		}
	}
}

// checkHelm renders what would be installed, with the same values.
func checkHelm(t *testing.T, h *helm.Helm, page string, words []string) {
	t.Helper()
	switch words[1] {
	case "install", "upgrade":
	case "rollback", "uninstall":
		return
	default:
		t.Errorf("%s: helm %s is no command that is known here", page, words[1])
		return
	}
	args := []string{"template"}
	for _, w := range words[2:] {
		switch w {
		case "infra/chart":
			w = filepath.Join(root, w)
		case "--create-namespace":
			continue
		case "--reuse-values": // whatever they are: the first release's
			args = append(args, "--set", "forwarder.enabled=false")
			continue
		}
		args = append(args, w)
	}
	if _, err := h.Run(t.Context(), args...); err != nil {
		t.Errorf("%s: %q: %v", page, strings.Join(words, " "), err)
	}
}

// checkFiles looks whether files of ours that a command names are there.
func checkFiles(t *testing.T, page string, words []string) {
	t.Helper()
	for _, w := range words {
		if strings.HasPrefix(w, "infra/") || w == ".env.example" {
			if _, err := os.Stat(filepath.Join(root, w)); err != nil {
				t.Errorf("%s: %q: %v", page, strings.Join(words, " "), err)
			}
		}
	}
}

// Commands on a stack of their own are run as they stand; one that looks for what is not
// there yet is asked again, as a reader would.
func TestCommandsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a stack")
	}
	for _, b := range tested(t, "stack") {
		t.Run(b.page, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(root, ".localdev.json")); err == nil {
				t.Fatal("`make up` runs here already: `make down` first")
			}
			defer func() { // whatever happened: it ends what make up started, and nothing else
				_, _ = run(context.WithoutCancel(t.Context()), "make down")
			}()
			for _, line := range b.lines {
				if err := again(t.Context(), line); err != nil {
					t.Fatalf("%s: %v", b.page, err)
				}
			}
		})
	}
}

func again(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // the first build
	defer cancel()
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := run(ctx, line)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%q: %w\n%s", line, err, out)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func run(ctx context.Context, line string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir = root
	return cmd.CombinedOutput()
}
