package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Codes of what is refused for good, TKE's own (457/81004).
const (
	// CodeNotDirect: none of the pods can be reached directly.
	CodeNotDirect = "E4033"
	// CodeSharedBackend: the CLB takes a backend only once for one VIP, port and
	// protocol tuple as it reads it; another listener has it.
	CodeSharedBackend = "E4036"
)

// RefusedAll is the key for an object refused as a whole.
const RefusedAll = "*"

// PortKey names a listener in Refused, RuleKey a rule of one.
func PortKey(protocol model.Protocol, port int) string { return fmt.Sprintf("%s/%d", protocol, port) }

// RuleKey names a rule in Refused.
func RuleKey(protocol model.Protocol, port int, domain, path string) string {
	return PortKey(protocol, port) + " " + domain + path
}

// RefusedOf reads what was refused to f: codes by PortKey, RuleKey or RefusedAll.
// What can't be read is nothing.
func RefusedOf(f *model.Front) map[string]string {
	var m map[string]string
	if json.Unmarshal([]byte(f.Annotations[Refused]), &m) != nil {
		return nil
	}
	return m
}

// RefusedCode is the code by which a place was refused, by itself, with its listener or
// with everything; "" if it wasn't.
func RefusedCode(refused map[string]string, key string) string {
	if code := refused[key]; code != "" {
		return code
	}
	if listener, _, isRule := strings.Cut(key, " "); isRule && refused[listener] != "" {
		return refused[listener]
	}
	return refused[RefusedAll]
}

// RefusedValue is the annotation's value for m, nil (remove it) for none.
func RefusedValue(m map[string]string) any {
	if len(m) == 0 {
		return nil
	}
	raw, err := json.Marshal(m) // a map of strings can't fail; keys come sorted
	if err != nil {
		return nil
	}
	return string(raw)
}

// SameRefused compares two records.
func SameRefused(a, b map[string]string) bool { return maps.Equal(a, b) }
