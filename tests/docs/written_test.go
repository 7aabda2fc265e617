package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// walk parses the product's files, tests left out.
func walk(t *testing.T, visit func(path string, f *ast.File)) {
	t.Helper()
	for _, tree := range []string{"functions", "shared", "infra"} {
		err := filepath.WalkDir(filepath.Join(root, tree), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				visit(path, f)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// text is a literal's.
func text(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value) // the parser took it
		return s
	}
	return ""
}

var reason = regexp.MustCompile(`^[A-Z][a-z]+([A-Z%][A-Za-z]*)*$`)

// reasons are those of the Events that the code writes: the field Reason of a Note, what
// warn is called with, and rows of a table with a field reason.
func reasons(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	add := func(s string) {
		for _, kind := range []string{"Service", "Ingress"} {
			if s := strings.ReplaceAll(s, "%s", kind); reason.MatchString(s) {
				out[s] = true
			}
		}
	}
	constants := map[string]string{}
	walk(t, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for i, name := range v.Names {
					if i < len(v.Values) && text(v.Values[i]) != "" {
						constants[name.Name] = text(v.Values[i])
					}
				}
			}
			return true
		})
	})
	value := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			return constants[e.Name]
		case *ast.CallExpr:
			if len(e.Args) > 0 {
				return text(e.Args[0])
			}
		}
		return text(e)
	}
	walk(t, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Note" || isNamed(n.Type, "Note") {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && isNamed(kv.Key, "Reason") {
							add(value(kv.Value))
						}
					}
				}
				if a, ok := n.Type.(*ast.ArrayType); ok {
					if s, ok := a.Elt.(*ast.StructType); ok && len(s.Fields.List) > 0 && len(s.Fields.List[0].Names) > 0 && isNamed(s.Fields.List[0].Names[0], "reason") {
						for _, row := range n.Elts {
							if r, ok := row.(*ast.CompositeLit); ok && len(r.Elts) > 0 {
								add(text(r.Elts[0]))
							}
						}
					}
				}
				if m, ok := n.Type.(*ast.MapType); ok && strings.Contains(path, "reconcile") && isNamed(m.Value, "string") {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && strings.HasPrefix(text(kv.Value), "Invalid") {
							add(text(kv.Value))
						}
					}
				}
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "warn" && len(n.Args) > 2 {
					add(value(n.Args[2]))
				}
			}
			return true
		})
	})
	return out
}

func isNamed(e ast.Node, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

// Every Event has its entry in the runbook, and every entry its Event.
func TestEveryEventHasARunbookEntry(t *testing.T) {
	book := pages(t)["docs/operations.md"]
	written := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### ([A-Za-z]+)$`).FindAllStringSubmatch(book, -1) {
		written[m[1]] = true
	}
	said := reasons(t)
	if len(said) < 20 {
		t.Fatalf("only %d reasons were found: %v", len(said), said)
	}
	for r := range said {
		if !written[r] {
			t.Errorf("docs/operations.md has no entry for Event %s", r)
		}
	}
	for r := range written {
		if !said[r] && !strings.HasPrefix(r, "ClbDirect") {
			t.Errorf("docs/operations.md has an entry for Event %s, which nobody writes", r)
		}
	}
}

// Every alert has its entry too.
func TestEveryAlertIsWrittenUp(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "infra/monitoring/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(raw), -1) {
			if !strings.Contains(pages(t)["docs/operations.md"], m[1]) {
				t.Errorf("docs/operations.md says nothing of alert %s", m[1])
			}
		}
	}
}

// Every annotation and label that the code knows is in the table.
func TestEveryAnnotationIsWrittenUp(t *testing.T) {
	table := pages(t)["docs/annotations.md"]
	found := 0
	walk(t, func(path string, f *ast.File) {
		if !strings.Contains(path, "shared/desired/") && !strings.Contains(path, "shared/model/") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			for _, prefix := range []string{"service.cloud.tencent.com/", "service.kubernetes.io/", "ingress.cloud.tencent.com/", "kubernetes.io/ingress."} {
				if s := text(l); strings.HasPrefix(s, prefix) && !strings.Contains(s, " ") && len(s) > len(prefix) {
					found++
					if !strings.Contains(table, "`"+s) {
						t.Errorf("docs/annotations.md says nothing of %s (%s)", s, path)
					}
				}
			}
			return true
		})
	})
	if found < 15 {
		t.Fatalf("only %d annotations were found", found)
	}
}

// Every relative link leads to something.
func TestLinksLeadSomewhere(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// Every report is written up somewhere, with the command that writes it.
func TestEveryReportIsWrittenUp(t *testing.T) {
	var all strings.Builder
	for _, text := range pages(t) {
		all.WriteString(text)
	}
	report := regexp.MustCompile(`\(report: (out/[a-z0-9-]+\.json)`)
	for name, target := range targets(t) {
		if m := report.FindStringSubmatch(target.Help); m != nil && !(strings.Contains(all.String(), "make "+name) && strings.Contains(all.String(), m[1])) {
			t.Errorf("no page says anything of `make %s` and %s", name, m[1])
		}
	}
}
