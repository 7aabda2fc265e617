package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/tests/manual"
)

// The pages that this life is lived by.
const (
	install     = "docs/install.md"
	coexistence = "docs/coexistence.md"
)

// reader is somebody who follows the documents, in a clone of their own, word by word but
// for the examples in them: ids, URLs and secrets.
type reader struct {
	dir, tools string
	book       manual.Manual
	// words replace the documents' examples; env is what the reader's shell has.
	words map[string]string
	env   []string
	read  map[string]bool
	// said is what the last command printed.
	said string
}

// left are parts of the tree that a clone doesn't have.
var left = []string{".git", "bin", "dist", "out", ".env"}

// newReader copies the tree below root to dir, and puts the programs that the documents
// take for granted into a folder of the reader's: kubectl, helm, and scf. The last is
// Tencent's and speaks to Tencent alone: here it only says that it was called, and Deploy
// does what it would.
func newReader(root, dir string) (*reader, error) {
	r := &reader{dir: filepath.Join(dir, "clone"), tools: filepath.Join(dir, "tools"), words: map[string]string{}, read: map[string]bool{}}
	var err error
	if r.book, err = manual.Read(root); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	if err := errors.Join(os.MkdirAll(r.dir, 0o755), os.MkdirAll(r.tools, 0o755)); err != nil {
		return nil, fmt.Errorf("making a clone: %w", err)
	}
	for _, e := range entries {
		from, to := filepath.Join(root, e.Name()), filepath.Join(r.dir, e.Name())
		switch {
		case slices.Contains(left, e.Name()) || strings.HasPrefix(e.Name(), ".localdev"):
		case e.IsDir():
			err = os.CopyFS(to, os.DirFS(from))
		case e.Type().IsRegular():
			var raw []byte
			if raw, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, raw, 0o644)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("copying %s: %w", e.Name(), err)
		}
	}
	return r, nil
}

// equip makes the reader's programs, for one cluster.
func (r *reader) equip(ctx context.Context, s *stack.Stack, helm string) error {
	kubectl, err := s.KubectlPath(ctx)
	if err != nil {
		return err
	}
	for name, script := range map[string]string{
		"kubectl": fmt.Sprintf("exec %q \"$@\"", kubectl),
		// No Service's address leads anywhere here: HELM_REACH says how the forwarder is reached.
		"helm": fmt.Sprintf("case $1 in upgrade) exec %q \"$@\" $HELM_REACH;; *) exec %q \"$@\";; esac", helm, helm),
		"scf":  "[ \"$*\" = deploy ] || { echo \"scf: $*: is not known here\" >&2; exit 2; }\n: >.scf-deploy",
	} {
		if err := os.WriteFile(filepath.Join(r.tools, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			return fmt.Errorf("making %s: %w", name, err)
		}
	}
	raw, err := os.ReadFile(s.Cluster.Kubeconfig)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "kubeconfig.yaml"), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("copying the kubeconfig: %w", err)
	}
	r.env = []string{"KUBECONFIG=" + filepath.Join(r.dir, "kubeconfig.yaml"), "PATH=" + r.tools + string(os.PathListSeparator) + os.Getenv("PATH")}
	for _, name := range []string{"KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} { // nothing of the user's own
		r.env = append(r.env, name+"="+filepath.Join(r.tools, strings.ToLower(name)))
	}
	return nil
}

// write writes a file of NAME=value lines where the reader is.
func (r *reader) write(name string, vars map[string]string) error {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s=%s\n", k, vars[k])
	}
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// block gives the n-th block below a heading, for this life to follow.
func (r *reader) block(page, heading string, n int) (manual.Block, error) {
	blocks := slices.DeleteFunc(r.book.Section(page, heading), func(b manual.Block) bool { return b.Test() != "lifecycle" })
	if n >= len(blocks) {
		return manual.Block{}, fmt.Errorf("%s: below %q there are %d blocks with test=lifecycle, the one numbered %d is looked for", page, heading, len(blocks), n)
	}
	return blocks[n], nil
}

// line takes the m-th command of a block, with the reader's own words in it.
func (r *reader) line(b manual.Block, m int) (string, error) {
	lines := b.Lines()
	if m >= len(lines) {
		return "", fmt.Errorf("%s: below %q a block has %d commands, the one numbered %d is looked for", b.Page, b.Heading, len(lines), m)
	}
	r.read[key(b, m)] = true
	return r.own(lines[m]), nil
}

// object takes a block that is no command, with the reader's own words in it.
func (r *reader) object(b manual.Block) string {
	r.read[key(b, 0)] = true
	return r.own(b.Text)
}

func (r *reader) own(text string) string {
	var pairs []string
	for _, word := range slices.Sorted(maps.Keys(r.words)) {
		pairs = append(pairs, word, r.words[word])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// run runs a command as the reader's shell does.
func (r *reader) run(ctx context.Context, command string, env ...string) error {
	cmd := manual.Shell(ctx, r.dir, command)
	cmd.Env = slices.Concat(os.Environ(), r.env, env)
	out, err := cmd.CombinedOutput()
	r.said = string(out)
	if err != nil {
		return fmt.Errorf("running %q: %w\n%s", command, err, out)
	}
	return nil
}

// deployed tells whether scf was called since it was last asked.
func (r *reader) deployed() bool { return os.Remove(filepath.Join(r.dir, ".scf-deploy")) == nil }

// unread are commands of this life that nobody has run.
func (r *reader) unread() error {
	var errs []error
	for _, b := range r.book.By("lifecycle") {
		n := 1
		if b.Shell() {
			n = len(b.Lines())
		}
		for i := range n {
			if !r.read[key(b, i)] {
				errs = append(errs, fmt.Errorf("%s, %q: a block with test=lifecycle was not followed: %s", b.Page, b.Heading, b.Text))
				break
			}
		}
	}
	return errors.Join(errs...)
}

func key(b manual.Block, line int) string {
	return fmt.Sprintf("%s\n%s\n%s\n%d", b.Page, b.Heading, b.Text, line)
}
