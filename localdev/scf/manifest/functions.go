package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits and defaults of the platform ("Limits", SCF API CreateFunction) and of the
// component (multi-scf, toolkit).
const (
	defaultMemoryMB    = 128
	defaultTimeout     = 3
	defaultInitTimeout = 65
	minInitTimeout     = 3
	maxTimeout         = 900
	maxMemoryMB        = 3072
	maxEnvironment     = 4 << 10
	maxFunctions       = 50
	defaultHandler     = "main"
	defaultNamespace   = "default"
	defaultRuntime     = "Nodejs12.16"
)

// reservedPrefixes are the platform's own variables.
var reservedPrefixes = []string{"SCF_", "QCLOUD_", "TENCENTCLOUD_"}

// libraryVariables are read by the runtime library at start (scf-go-lib,
// functioncontext): to set them is to lie to it.
var libraryVariables = []string{"FUNCTION_NAME", "FUNCTION_MEMORY_SIZE", "FUNCTION_VERSION"}

func (l *linter) inputs(top, inputs map[string]any) {
	l.keys("inputs", inputs, commonKeys)
	l.function("inputs", inputs)
	if _, there := inputs["src"]; !there {
		l.warn("inputs.src", "missing: there is nothing to upload")
	}
	functions, ok := inputs["functions"].(map[string]any)
	if !ok {
		return // told by the table
	}
	if len(functions) == 0 {
		l.fail("inputs.functions", "is empty")
	}
	if len(functions) > maxFunctions {
		l.fail("inputs.functions", "has %d, at most %d are allowed in a namespace", len(functions), maxFunctions)
	}

	names := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(functions)) {
		field := "inputs.functions." + k
		own, ok := functions[k].(map[string]any)
		if !ok {
			l.fail(field, "is %s, want %s", kindOf(functions[k]), mapping)
			continue
		}
		l.keys(field, own, functionKeys)
		l.function(field, own)
		l.merged(field, inputs, own)
		name := nameOf(top, inputs, own, k)
		if other, taken := names[name]; taken {
			l.fail(field+".name", "%s is also the name of %s", name, other)
		}
		names[name] = k
		if _, given := own["name"]; !given && !functionName.MatchString(name) {
			l.fail(field+".name", "%q, made of name, stage, app and key: %s", name, functionNameSays)
		}
	}
	l.triggers(inputs["triggers"], functions)
}

// nameOf is a function's name on the platform.
func nameOf(top, inputs, own map[string]any, k string) string {
	for _, m := range []map[string]any{own, inputs} {
		if s, _ := m["name"].(string); s != "" {
			return s
		}
	}
	return fmt.Sprintf("%s-%s-%s-%s", top["name"], top["stage"], top["app"], k)
}

// function checks what a table can't say, of one function's own keys or of the common
// ones.
func (l *linter) function(field string, keys map[string]any) {
	if n, ok := number(keys["memorySize"]); ok && n != 64 && (n < 128 || n > maxMemoryMB || n%128 != 0) {
		l.fail(field+".memorySize", "is %d, want 64 or a multiple of 128 up to %d", n, maxMemoryMB)
	}
	if _, there := keys["src"]; there && field != "inputs" {
		l.fail(field+".src", "one of a function's own is packed anew and may lose the executable bit: use one package for all")
	}
	if list, ok := keys["environments"].([]any); ok {
		l.environment(field+".environments", list)
	}
}

// merged checks a function with the common keys below its own. The component's merge is
// shallow: a list of the function's own replaces the common one and doesn't extend it.
func (l *linter) merged(field string, inputs, own map[string]any) {
	all := merge(inputs, own)
	if _, there := all["runtime"]; !there {
		l.fail(field+".runtime", "missing, and the component's default is %s", defaultRuntime)
	}
	_, vpc := all["vpc"]
	_, config := all["vpcConfig"]
	if _, public := all["publicAccess"]; (vpc || config) && !public {
		l.warn(field+".publicAccess", "missing: it is on by default, also in a VPC")
	}
	if handler := orElse(str(all["handler"]), defaultHandler); l.with.Executables != nil && !slices.Contains(l.with.Executables, handler) {
		l.fail(field+".handler", "%s is no executable at the root of the package, which has %v", handler, l.with.Executables)
	}
	variables, _ := all["environments"].([]any)
	if len(variables) == 0 {
		l.warn(field+".environments", "missing: an update without any wipes those that the function has")
	}
	if _, replaced := own["environments"]; replaced {
		set := variableNames(variables)
		common, _ := inputs["environments"].([]any)
		for _, name := range variableNames(common) {
			if !slices.Contains(set, name) {
				l.warn(field+".environments", "replaces the common list, in which %s is: it is not set here", name)
			}
		}
	}
}

// environment checks the variables as the platform does. The limit is on all of them
// together, names and values.
func (l *linter) environment(field string, variables []any) {
	size := 0
	seen := map[string]bool{}
	for i, entry := range variables {
		at := fmt.Sprintf("%s[%d]", field, i)
		v, _ := entry.(map[string]any)
		name := str(v["key"])
		if name == "" {
			continue // told by the table
		}
		if !environmentName.MatchString(name) {
			l.fail(at+".key", "%q: want 2 to 64 letters, digits and _, beginning with a letter", name)
		}
		for _, prefix := range reservedPrefixes {
			if strings.HasPrefix(name, prefix) {
				l.fail(at+".key", "%s: the prefix %s is reserved", name, prefix)
			}
		}
		if slices.Contains(libraryVariables, name) {
			l.fail(at+".key", "%s is read by the runtime library", name)
		}
		if seen[name] {
			l.fail(at+".key", "%s is there twice", name)
		}
		seen[name] = true
		size += len(name) + len(plain(v["value"]))
	}
	if size > maxEnvironment {
		l.fail(field, "%d bytes, at most %d are allowed", size, maxEnvironment)
	}
}

// merge lays a function's own keys over the common ones.
func merge(inputs, own map[string]any) map[string]any {
	merged := map[string]any{}
	for name := range functionKeys {
		if v, ok := own[name]; ok {
			merged[name] = v
		} else if v, ok := inputs[name]; ok {
			merged[name] = v
		}
	}
	return merged
}

func variableNames(variables []any) []string {
	var names []string
	for _, entry := range variables {
		if v, ok := entry.(map[string]any); ok {
			names = append(names, str(v["key"]))
		}
	}
	return names
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// plain is the text of a variable's value.
func plain(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
