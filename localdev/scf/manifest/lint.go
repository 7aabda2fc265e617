package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Finding is one thing that is wrong with a file.
type Finding struct {
	// Field is where, such as inputs.functions.resync.timeout.
	Field string
	// Message says what is wrong, and what would be right.
	Message string
	// Warning tells that the deployment would go on, though hardly as it was meant.
	Warning bool
}

// String is the field and the message.
func (f Finding) String() string {
	if f.Field == "" {
		return f.Message
	}
	return f.Field + ": " + f.Message
}

// Deployment is what a file is deployed with.
type Deployment struct {
	// Env resolves ${env:NAME}; this process's own environment is never looked at.
	Env map[string]string
	// Stage replaces the file's unless empty.
	Stage string
	// Executables are the names of the executables at the root of the package, to
	// check handlers against; nil checks none.
	Executables []string
}

// Lint holds a serverless.yml against the documented schema of component multi-scf and
// the platform's limits, and looks for what is accepted and then doesn't do what it
// says: the component itself checks next to nothing before it deploys. The order of
// findings is always the same.
func Lint(data []byte, with Deployment) []Finding {
	top, err := decodeYAML(data)
	if err != nil {
		return []Finding{{Message: err.Error()}}
	}
	return lint(top, with)
}

func lint(top map[string]any, with Deployment) []Finding {
	l := &linter{with: with}
	if with.Stage != "" {
		top["stage"] = with.Stage
	}
	resolved, err := resolveVariables(top, with.Env)
	if err != nil {
		return []Finding{{Message: err.Error()}}
	}
	l.keys("", resolved, topKeys)
	if inputs, ok := resolved["inputs"].(map[string]any); ok {
		l.inputs(resolved, inputs)
	}
	return l.found
}

type linter struct {
	with  Deployment
	found []Finding
}

func (l *linter) fail(field, format string, args ...any) {
	l.found = append(l.found, Finding{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (l *linter) warn(field, format string, args ...any) {
	l.found = append(l.found, Finding{Field: field, Message: fmt.Sprintf(format, args...), Warning: true})
}

func join(field, key string) string { return strings.TrimPrefix(field+"."+key, ".") }

// keys checks a map against its schema.
func (l *linter) keys(field string, have map[string]any, schema map[string]key) {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		k, known := schema[name]
		if !known {
			l.fail(join(field, name), "unknown key")
			continue
		}
		l.value(join(field, name), have[name], k)
	}
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		k := schema[name]
		_, there := have[name]
		switch {
		case !k.required || there:
		case k.why != "":
			l.fail(join(field, name), "missing: %s", k.why)
		default:
			l.fail(join(field, name), "missing")
		}
	}
}

// value checks one value against what is known of its key.
func (l *linter) value(field string, v any, k key) {
	if k.trap != "" && v != false {
		if k.mild {
			l.warn(field, "%s", k.trap)
		} else {
			l.fail(field, "%s", k.trap)
		}
		return
	}
	if !is(v, k.kind) {
		l.fail(field, "is %s, want %s", kindOf(v), k.kind)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if k.keys != nil {
			l.keys(field, v, k.keys)
		}
	case []any:
		for i, entry := range v {
			if k.keys != nil {
				l.value(fmt.Sprintf("%s[%d]", field, i), entry, key{kind: mapping, keys: k.keys})
			}
		}
	case json.Number:
		n, _ := v.Int64()
		if k.kind == whole && (n < int64(k.min) || k.max > 0 && n > int64(k.max)) {
			l.fail(field, "is %s, %s", v, bounds(k))
		}
	case string:
		l.text(field, v, k)
	}
}

func (l *linter) text(field, s string, k key) {
	switch {
	case k.required && s == "":
		l.fail(field, "is empty")
	case k.enum != nil && !slices.Contains(k.enum, s) && k.loose:
		l.warn(field, "%q is not in the public list: %s", s, strings.Join(k.enum, ", "))
	case k.enum != nil && !slices.Contains(k.enum, s):
		l.fail(field, "%q, want one of %s", s, strings.Join(k.enum, ", "))
	case k.form != nil && !k.form.MatchString(s):
		l.fail(field, "%q: %s", s, k.says)
	case k.max > 0 && len(s) > k.max:
		l.fail(field, "has %d bytes, at most %d are allowed", len(s), k.max)
	}
}

func bounds(k key) string {
	if k.max > 0 {
		return fmt.Sprintf("want %d to %d", k.min, k.max)
	}
	return fmt.Sprintf("want at least %d", k.min)
}

func is(v any, k kind) bool {
	have := kindOf(v)
	switch k {
	case scalar:
		return have == text || have == whole || have == flag || have == fraction || have == nothing
	case textOrMap:
		return have == text || have == mapping
	case listOrMap:
		return have == list || have == mapping
	default:
		return have == k
	}
}

func kindOf(v any) kind {
	switch v := v.(type) {
	case nil:
		return nothing
	case string:
		return text
	case bool:
		return flag
	case []any:
		return list
	case map[string]any:
		return mapping
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return whole
		}
	}
	return fraction
}
