package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Runner is who runs a command in the middle of the text.
type Runner string

// The runners.
const (
	// CI is .ci/run, as a stage or as a part of `make test`.
	CI Runner = "ci"
	// InBlock is who runs a block that has the same command.
	InBlock Runner = "block"
	// Long is Itself: what writes a report and isn't part of CI.
	Long Runner = "long"
	// Cluster is tests/docs, on a cluster of its own.
	Cluster Runner = "cluster"
	// Up is tests/docs, on what `make up` left running.
	Up Runner = "up"
	// Nobody runs it: there is no such target.
	Nobody Runner = ""
)

// Itself is the command that runs the long ones; nobody runs it but a person.
const Itself = "make commands"

// Target is one of the Makefile's.
type Target struct {
	// Needs are its prerequisites, Help what `make help` says of it.
	Needs []string
	Help  string
}

var rule = regexp.MustCompile(`(?m)^([a-z0-9-]+):([^#\n]*)(?:## (.*))?$`)

// Targets reads the Makefile below root.
func Targets(root string) (map[string]Target, error) {
	raw, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, fmt.Errorf("reading the targets: %w", err)
	}
	out := map[string]Target{}
	for _, m := range rule.FindAllStringSubmatch(string(raw), -1) {
		out[m[1]] = Target{Needs: strings.Fields(m[2]), Help: m[3]}
	}
	return out, nil
}

// Stages are the commands that .ci/run runs.
func Stages(root string) ([]string, error) {
	raw, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		return nil, fmt.Errorf("reading the stages: %w", err)
	}
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^stage [a-z0-9-]+ (.*)$`).FindAllStringSubmatch(string(raw), -1) {
		out = append(out, m[1])
	}
	return out, nil
}

// Ran tells whether stages run a command as it stands, or with more arguments.
func Ran(stages []string, command string) bool {
	return slices.ContainsFunc(stages, func(s string) bool { return s == command || strings.HasPrefix(s, command+" ") })
}

// Runner tells who runs a command in the middle of the text.
func (m Manual) Runner(command string, targets map[string]Target, stages []string) Runner {
	words := strings.Fields(command)
	if words[0] != "make" {
		return Up
	}
	target, known := targets[words[1]]
	switch {
	case !known:
		return Nobody
	case Ran(stages, command), len(words) == 2 && slices.Contains(targets["test"].Needs, words[1]):
		return CI
	case m.inBlock(words):
		return InBlock
	case strings.Contains(target.Help, "(report: "), command == Itself:
		return Long
	case strings.HasPrefix(words[len(words)-1], "CLUSTER="):
		return Cluster
	}
	return Up
}

// inBlock tells whether a block has the command; one that is only named, with whatever
// arguments.
func (m Manual) inBlock(words []string) bool {
	return slices.ContainsFunc(m.Blocks(), func(b Block) bool {
		return b.Shell() && slices.ContainsFunc(b.Lines(), func(line string) bool {
			have := strings.Fields(line)
			return slices.Equal(have, words) || len(words) == 2 && len(have) > 2 && slices.Equal(have[:2], words)
		})
	})
}
