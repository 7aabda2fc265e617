package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxTriggers is how many of one type a function may have ("Limits").
const maxTriggers = 10

func (l *linter) triggers(v any, functions map[string]any) {
	entries, _ := v.([]any)
	count := map[string]int{}
	names := map[string]string{}
	for i, entry := range entries {
		field := fmt.Sprintf("inputs.triggers[%d]", i)
		t, ok := entry.(map[string]any)
		if !ok {
			l.fail(field, "is %s, want %s", kindOf(entry), mapping)
			continue
		}
		l.keys(field, t, triggerKeys)
		function, kind := str(t["function"]), str(t["type"])
		if _, there := functions[function]; !there && function != "" {
			l.fail(field+".function", "Function %s not in deploy list", function)
		}
		schema, known := triggerParameters[kind]
		switch {
		case kind == "":
			continue // told by the table
		case kind == "apigw":
			l.fail(field+".type", "%s", retired)
			continue
		case kind == "eb" || kind == "eventbridge":
			l.fail(field+".type", "%q: the component knows no EventBridge, add the function as a target of the rule in the console", kind)
			continue
		case !known:
			l.fail(field+".type", "%q, want one of %s", kind, strings.Join(slices.Sorted(maps.Keys(triggerParameters)), ", "))
			continue
		}
		parameters, ok := t["parameters"].(map[string]any)
		if !ok {
			continue
		}
		l.keys(field+".parameters", parameters, schema)
		l.parameters(field+".parameters", kind, parameters)

		if count[function+" "+kind]++; count[function+" "+kind] == maxTriggers+1 {
			l.fail(field+".type", "%s has more than %d of type %s", function, maxTriggers, kind)
		}
		id := strings.Join([]string{function, kind, str(parameters["name"]), str(parameters["topic"])}, " ")
		if kind == "http" { // one URL per version or alias
			id = strings.Join([]string{function, kind, str(parameters["qualifier"])}, " ")
		}
		if other, taken := names[id]; taken {
			l.fail(field+".parameters", "is the same trigger as %s", other)
		}
		names[id] = field
	}
}

// parameters checks what a table can't say.
func (l *linter) parameters(field, kind string, p map[string]any) {
	switch kind {
	case "http":
		net, ok := p["netConfig"].(map[string]any)
		if ok && net["enableIntranet"] != true && net["enableExtranet"] != true {
			l.fail(field+".netConfig", "neither enableIntranet nor enableExtranet: nobody could reach the URL")
		}
	case "timer":
		expression := str(p["cronExpression"])
		if expression == "" {
			return
		}
		if _, err := ParseSchedule(expression); err != nil {
			l.fail(field+".cronExpression", "%v", err)
		}
	}
}
