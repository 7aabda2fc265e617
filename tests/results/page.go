package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/clb-direct/clb-direct/localdev/record"
)

//go:embed page.md.tmpl
var pageText string

// render makes the page and its plots, by their paths below docs.
func render(b *book) (map[string][]byte, error) {
	out := map[string][]byte{}
	plots, err := draw(b)
	if err != nil {
		return nil, fmt.Errorf("drawing: %w", err)
	}
	for name, svg := range plots {
		out["results/"+name] = svg
	}
	page, err := template.New("page").Funcs(functions(b, plots)).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("reading the page's template: %w", err)
	}
	var text bytes.Buffer
	if err := page.Execute(&text, struct {
		*book
		Rows []row
	}{b, rows}); err != nil {
		return nil, fmt.Errorf("rendering the page: %w", err)
	}
	out["results.md"] = tidy(text.Bytes())
	return out, nil
}

// tidy leaves one empty line where a template left several, and none at the end.
func tidy(text []byte) []byte {
	for bytes.Contains(text, []byte("\n\n\n")) {
		text = bytes.ReplaceAll(text, []byte("\n\n\n"), []byte("\n\n"))
	}
	return append(bytes.TrimSpace(text), '\n')
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// functions are the template's.
func functions(b *book, plots map[string][]byte) template.FuncMap {
	return template.FuncMap{
		"held": func(r row) string { return orNot(r.Held(b)) },
		"on":   func(report string) string { return on(b.Measured[report]) },
		// plot shows a plot, or says by which command it would be made.
		"plot": func(name, command, alt string) string {
			if plots[name+".svg"] == nil {
				return notYet(command)
			}
			return fmt.Sprintf("![%s](results/%s.svg)", alt, name)
		},
		// table shows a report's, likewise.
		"table": func(name string) (string, error) {
			t, ok := tables[name]
			if !ok {
				return "", fmt.Errorf("there is no table %q", name)
			}
			rows := t.rows(b)
			if len(rows) == 0 {
				return notYet(t.command), nil
			}
			return markdown(t.head, rows), nil
		},
	}
}

func notYet(command string) string { return fmt.Sprintf("Not measured yet: `make %s`.", command) }

// orNot is a figure, or that there is none.
func orNot(text string) string {
	if text == "" {
		return "not measured yet"
	}
	return text
}

// on tells when and on what something was measured, as far as is known.
func on(m record.Measured) string {
	if m.At.IsZero() {
		return ""
	}
	out := []string{m.At.UTC().Format("2006-01-02")}
	if m.Commit != "" {
		out = append(out, "`"+m.Commit+"`")
	}
	if m.CPUs > 0 {
		out = append(out, fmt.Sprintf("%d CPUs", m.CPUs))
	}
	return strings.Join(out, ", ")
}
