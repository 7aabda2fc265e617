// Package manual reads README.md and docs/ as those do who follow them: page by page and
// heading by heading, each command as it stands. Tests run the documents from the text.
//
// The fence of a block says who runs it:
//
//	```sh test=ci         .ci/run, each line as it stands
//	```sh test=stack      tests/docs, line by line, on what the first line starts
//	```sh test=up         tests/docs, on what `make up` of the README left running
//	```sh test=kubelet    tests/docs, where there is a container runtime
//	```sh test=lifecycle  tests/lifecycle, which installs from docs/install.md and moves in
//	                      and out by docs/coexistence.md, on the emulators; also ```yaml
//
// A command in the middle of the text is run by .ci/run, by tests/docs as those of test=up
// are, or, if it measures for long, by `make commands`.
package manual

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Patterns are the documents, below the module's directory.
var Patterns = []string{"README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/*.md"}

// Chinese is the README's translation, whose commands are the README's.
const Chinese = "README.zh.md"

// Manual is every page's text, by its path.
type Manual map[string]string

// Read reads the documents below root, the module's directory.
func Read(root string) (Manual, error) {
	m := Manual{}
	for _, pattern := range Patterns {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("finding %s: there are %d (%v)", pattern, len(found), err)
		}
		for _, path := range found {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("reading a page: %w", err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return nil, fmt.Errorf("reading a page: %w", err)
			}
			m[filepath.ToSlash(name)] = string(raw)
		}
	}
	return m, nil
}

// Pages are the paths of all pages, in order.
func (m Manual) Pages() []string {
	var out []string
	for page := range m {
		out = append(out, page)
	}
	slices.Sort(out)
	return out
}

// Block is a fenced one.
type Block struct {
	// Page is its page's path, Heading the last one above it.
	Page, Heading string
	// Info is what its fence says, Text what stands in it.
	Info, Text string
}

// Shell tells whether it is one of commands.
func (b Block) Shell() bool {
	language, _, _ := strings.Cut(b.Info, " ")
	return slices.Contains([]string{"sh", "bash", "shell", "console"}, language)
}

// Test is who runs it, "" for nobody.
func (b Block) Test() string {
	_, by, _ := strings.Cut(b.Info, "test=")
	return by
}

// Lines are its commands: without what stands behind " # ", and each that goes on behind a
// backslash as one.
func (b Block) Lines() []string {
	var out []string
	var line strings.Builder
	for raw := range strings.SplitSeq(b.Text, "\n") {
		part, _, _ := strings.Cut(raw, " # ")
		part = strings.TrimSpace(part)
		if head, more := strings.CutSuffix(part, `\`); more {
			line.WriteString(strings.TrimSpace(head) + " ")
			continue
		}
		line.WriteString(part)
		if s := line.String(); s != "" {
			out = append(out, s)
		}
		line.Reset()
	}
	return out
}

var (
	fence   = regexp.MustCompile("^( *)```(.*)$")
	heading = regexp.MustCompile("^#+ +(.*)$")
	span    = regexp.MustCompile("`([^`]+)`")
)

// Blocks are all of all pages, in order.
func (m Manual) Blocks() []Block {
	var out []Block
	for _, page := range m.Pages() {
		blocks, _ := split(page, m[page])
		out = append(out, blocks...)
	}
	return out
}

// Section are the blocks below a heading of a page.
func (m Manual) Section(page, heading string) []Block {
	return slices.DeleteFunc(m.Blocks(), func(b Block) bool { return b.Page != page || b.Heading != heading })
}

// By are the blocks that somebody runs; of the README's two, one.
func (m Manual) By(who string) []Block {
	return slices.DeleteFunc(m.Blocks(), func(b Block) bool { return b.Test() != who || b.Page == Chinese })
}

// split takes a page apart: its blocks, and the text between them.
func split(page, text string) (blocks []Block, prose string) {
	var rest, inside strings.Builder
	var open *Block
	var under, indent string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			open, indent = &Block{Page: page, Heading: under, Info: m[2]}, m[1]
		case open != nil && m != nil:
			open.Text = inside.String()
			blocks = append(blocks, *open)
			open = nil
			inside.Reset()
		case open != nil:
			inside.WriteString(strings.TrimPrefix(line, indent) + "\n")
		default:
			if h := heading.FindStringSubmatch(line); h != nil {
				under = h[1]
			}
			rest.WriteString(line + "\n")
		}
	}
	return blocks, rest.String()
}

// programs are what the first word of a command in the text can be.
var programs = []string{"make", "go", "kubectl", "bin/kubectl", "helm", "scf", "localdev"}

// Inline are the commands in the middle of the text, each once, with the pages that have it.
func (m Manual) Inline() map[string][]string {
	out := map[string][]string{}
	for _, page := range m.Pages() {
		_, prose := split(page, m[page])
		for _, found := range span.FindAllStringSubmatch(prose, -1) {
			words := strings.Fields(found[1]) // a line may end within it
			command := strings.Join(words, " ")
			if len(words) < 2 || !slices.Contains(programs, words[0]) || slices.Contains(out[command], page) {
				continue
			}
			out[command] = append(out[command], page)
		}
	}
	return out
}

// Shell is a command line as a reader's shell runs it, where one part that fails has it
// fail as a whole. Environment and streams are the caller's to set.
func Shell(ctx context.Context, dir, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir = dir
	return cmd
}
