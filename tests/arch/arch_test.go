// Package arch holds the rules of the source tree itself: who may import whom, what
// pure packages may not know, and that every package says what it is. A rule that
// only people keep is broken within a year.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/clb-direct/clb-direct"

// listed is a package of the module as the go command tells.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

// name is the package's path below the module.
func (p listed) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// root is the module's directory.
const root = "../.."

// list asks the go command once, which takes seconds.
var list = sync.OnceValues(func() ([]listed, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the list of packages: %w", err)
		}
		all = append(all, p)
	}
})

// packages are those of the module, as they are built (without their tests).
func packages(t *testing.T) []listed {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages were found: the rules would hold for nothing", len(all))
	}
	return all
}

func within(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") })
}

// pure are the packages that decide, and what each may import besides the plain
// parts of the standard library. Plain data in, plain data out.
var pure = map[string][]string{
	"shared/model":     nil,
	"shared/desired":   {module + "/shared/model"},
	"shared/plan":      {module + "/shared/model"},
	"shared/readiness": {module + "/shared/model"},
	"shared/admission": {module + "/shared/model"},
	"shared/fault":     {"context"}, // only to know its errors when it meets them
}

// plain are the parts of the standard library that reach nothing outside.
var plain = []string{"bytes", "cmp", "encoding/json", "errors", "fmt", "iter", "maps", "math", "net/netip", "reflect", "regexp", "slices", "sort", "strconv", "strings", "time", "unicode", "unicode/utf8"}

func TestPurePackagesImportNothingThatReaches(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		allowed, ok := pure[p.name()]
		if !ok {
			continue
		}
		seen++
		for _, imported := range p.Imports {
			if !slices.Contains(plain, imported) && !slices.Contains(allowed, imported) {
				t.Errorf("%s imports %s: a pure package knows no SDK, no client, no context and no clock", p.name(), imported)
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("want %d pure packages, found %d", len(pure), seen)
	}
}

// edges says which of the module's packages a tree may import.
var edges = []struct {
	tree, why string
	may       []string
}{
	{"shared/clb", "the CLB's edge knows no policy", []string{"shared/model", "shared/fault"}},
	// The wire form of a TkeServiceConfig is desired's.
	{"shared/kube", "Kubernetes' edge knows no policy", []string{"shared/model", "shared/fault", "shared/desired"}},
	{"shared/event", "the door knows nothing of what is behind it", []string{"shared/fault", "shared/model"}},
	{"shared/config", "configuration is read before anything is made of it", []string{"shared/desired", "shared/fault"}},
	{"shared/reconcile", "a pass is above the edges and below the functions", []string{"shared"}},
	{"functions", "a function is a pass and its door", []string{"shared", "functions"}},
	{"infra", "the forwarder watches and tells; it never writes to a CLB", []string{
		"infra", "shared/admission", "shared/config", "shared/desired", "shared/event", "shared/fault", "shared/kube", "shared/model", "shared/readiness",
	}},
	{"localdev", "stand-ins for what is outside, and what starts them", []string{"localdev", "infra", "functions", "shared"}},
}

func TestImportsGoOneWay(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, edge := range edges {
			if !within(p.name(), edge.tree) {
				continue
			}
			used[edge.tree] = true
			for _, imported := range p.Imports {
				name, ours := strings.CutPrefix(imported, module+"/")
				if ours && !within(name, edge.may...) {
					t.Errorf("%s imports %s: %s", p.name(), name, edge.why)
				}
			}
		}
	}
	for _, edge := range edges {
		if !used[edge.tree] {
			t.Errorf("the rule for %s is about nothing", edge.tree)
		}
	}
}

// TestProductionKnowsNoStandIn: what is deployed contains nothing of localdev, of
// tests, or of their libraries, however far down.
func TestProductionKnowsNoStandIn(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.name(), "shared", "functions", "infra") {
			continue
		}
		for _, dep := range p.Deps {
			name, ours := strings.CutPrefix(dep, module+"/")
			switch {
			case ours && within(name, "localdev", "tests"):
				t.Errorf("%s depends on %s: production code never does", p.name(), name)
			// What builds an image is not deployed, and its library brings package testing.
			case !within(p.name(), "infra/image") && within(dep, "testing", "pgregory.net/rapid", "github.com/google/go-cmp"):
				t.Errorf("%s depends on %s, which is for tests", p.name(), dep)
			}
		}
	}
}

func TestFunctionsRunPasses(t *testing.T) {
	passes := map[string]bool{}
	for _, p := range packages(t) {
		if slices.Contains(p.Imports, module+"/shared/reconcile") && within(p.name(), "functions") {
			passes[p.name()] = true
		}
	}
	for _, f := range []string{"functions/frontend", "functions/backends", "functions/readiness"} {
		if !passes[f] {
			t.Errorf("%s runs no pass of shared/reconcile", f)
		}
	}
}

// source is a Go file of the tree.
type source struct {
	path string // below the root
	text []byte
	tree *ast.File
}

// parse reads the tree once.
var parse = sync.OnceValues(func() ([]source, error) {
	const dir = root
	var all []source
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "bin" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		all = append(all, source{filepath.ToSlash(below), text, tree})
		return err
	})
	return all, err
})

// sources are all Go files, of nested modules and test data too.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(s.path))
		if strings.HasSuffix(s.tree.Name.Name, "_test") {
			continue
		}
		if _, known := comments[dir]; !known {
			comments[dir] = nil
		}
		if s.tree.Doc != nil && strings.TrimSpace(s.tree.Doc.Text()) != "" {
			comments[dir] = append(comments[dir], s.path)
		}
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments %v, must have one", dir, len(files), files)
		}
	}
}

// maxLines is how long a file may be: what is longer holds more than one thing.
const maxLines = 500

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n >= maxLines {
			t.Errorf("%s has %d lines, must have fewer than %d", s.path, n, maxLines)
		}
	}
}

// clocks are the functions of package time that look at the clock or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func TestPurePackagesReadNoClock(t *testing.T) {
	for _, s := range sources(t) {
		if _, ok := pure[filepath.ToSlash(filepath.Dir(s.path))]; !ok || isTest(s.path) {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clocks, sel.Sel.Name) {
				t.Errorf("%s calls time.%s: the time is given to a pure package", s.path, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: what is set up is set up where it is made", s.path)
			}
		}
	}
}

// TestNothingIsPutOff: what is left to do is written in the tracker.
func TestNothingIsPutOff(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}
	for _, s := range sources(t) {
		for _, group := range s.tree.Comments {
			for _, w := range words {
				if slices.Contains(strings.FieldsFunc(group.Text(), func(r rune) bool { return r < 'A' || r > 'Z' }), w) {
					t.Errorf("%s has a %s", s.path, w)
				}
			}
		}
	}
}
