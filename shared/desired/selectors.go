package desired

import (
	"maps"
	"slices"
	"strings"
)

// SelectorsOf writes the selectors of the Services whose pods o wants bound, as far as
// they are known, as "key=value,key=value" each: sorted, each once.
func SelectorsOf(o Object, src Sources) []string {
	var out []string
	add := func(selector map[string]string) {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(selector)) {
			pairs = append(pairs, key+"="+selector[key])
		}
		if len(pairs) > 0 { // none selects nothing
			out = append(out, strings.Join(pairs, ","))
		}
	}
	if o.Service != nil {
		add(o.Service.Selector)
	} else {
		for _, name := range ServicesOf(o) {
			if s := src.Services[name]; s != nil {
				add(s.Selector)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
