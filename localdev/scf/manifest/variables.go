package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// resolveVariables replaces ${env:NAME}, ${stage}, ${app}, ${name} and ${org} in every
// string of the document. The top-level names are resolved first, since the rest may
// refer to them.
func resolveVariables(top map[string]any, env map[string]string) (map[string]any, error) {
	known := map[string]string{}
	for k, v := range env {
		known["env:"+k] = v
	}
	for _, key := range []string{"org", "app", "stage", "name"} {
		s, ok := top[key].(string)
		if !ok {
			continue
		}
		resolved, err := resolveString(key, s, known)
		if err != nil {
			return nil, err
		}
		known[key] = resolved
	}
	resolved, err := resolveAny("", top, known)
	if err != nil {
		return nil, err
	}
	return resolved.(map[string]any), nil
}

// resolveAny walks in a fixed order, so that of several errors the same one is told.
func resolveAny(field string, v any, known map[string]string) (any, error) {
	switch v := v.(type) {
	case string:
		return resolveString(field, v, known)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = resolveAny(fmt.Sprintf("%s[%d]", field, i), v[i], known); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			var err error
			if out[key], err = resolveAny(strings.TrimPrefix(field+"."+key, "."), v[key], known); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return v, nil
	}
}

func resolveString(field, s string, known map[string]string) (string, error) {
	var err error
	out := reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := known[name]
		if !ok && err == nil {
			err = fmt.Errorf("%s: %s is not set", field, ref)
		}
		return value
	})
	return out, err
}
