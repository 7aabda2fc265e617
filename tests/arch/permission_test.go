package arch

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A policy allows the actions that the code calls, and no others: each is called by a
// method of the SDK's client, which ends in WithContext and is the action's name.
func TestPoliciesAllowWhatIsCalledAndNothingMore(t *testing.T) {
	for _, tc := range []struct {
		policy, service string
		trees           []string
	}{
		{"functions.json", "clb", []string{"functions", "shared"}},
		{"forwarder.json", "scf", []string{"infra/forwarder"}},
	} {
		t.Run(tc.policy, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(root, "infra/cam", tc.policy))
			if err != nil {
				t.Fatal(err)
			}
			var policy struct {
				Statement []struct {
					Effect string
					Action []string
				}
			}
			if err := json.Unmarshal(raw, &policy); err != nil {
				t.Fatal(err)
			}
			allowed, called := map[string]bool{}, map[string]bool{}
			for _, s := range policy.Statement {
				for _, a := range s.Action {
					if s.Effect != "allow" || allowed[a] {
						t.Errorf("%s: %s is said twice, or not allowed", tc.policy, a)
					}
					allowed[a] = true
				}
			}
			for _, tree := range tc.trees {
				calls(t, filepath.Join(root, tree), func(action string) { called[tc.service+":"+action] = true })
			}
			if diff := cmp.Diff(called, allowed); diff != "" {
				t.Errorf("-called +allowed:\n%s", diff)
			}
		})
	}
}

// calls finds what is called, or handed on to be called, of the SDK's clients. Tests don't
// count.
func calls(t *testing.T, dir string, found func(action string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		sdk := false
		for _, i := range file.Imports {
			sdk = sdk || strings.Contains(i.Path.Value, "tencentcloud-sdk-go/tencentcloud/")
		}
		if !sdk {
			return nil
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if action, is := strings.CutSuffix(s.Sel.Name, "WithContext"); is && action != "" && strings.ToUpper(action[:1]) == action[:1] {
				if _, field := s.X.(*ast.SelectorExpr); field { // of a client that is kept, not a package's
					found(action)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
