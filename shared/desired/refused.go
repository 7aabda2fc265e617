package desired

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Codes of what is refused for good, TKE's own (457/81004).
const (
	// CodeNotDirect: none of the pods can be reached directly.
	CodeNotDirect = "E4033"
	// CodeSharedBackend: the CLB takes a backend only once for one VIP, port and
	// protocol tuple as it reads it; another listener has it.
	CodeSharedBackend = "E4036"
	// CodePortConflict: another listener has the port.
	CodePortConflict = "E4016"
	// CodeNoLoadBalancer: the existing load balancer isn't there.
	CodeNoLoadBalancer = "E4011"
	// CodeNoConfig: the TkeServiceConfig isn't there.
	CodeNoConfig = "E4026"
)

// RefusedAll is the key for a Service refused as a whole.
const RefusedAll = "*"

// PortKey names a Service port in Refused.
func PortKey(sp model.ServicePort) string { return fmt.Sprintf("%s/%d", sp.Protocol, sp.Port) }

// RefusedOf reads what was refused to svc: codes by PortKey or RefusedAll. What
// can't be read is nothing.
func RefusedOf(svc *model.Service) map[string]string {
	var m map[string]string
	if json.Unmarshal([]byte(svc.Annotations[Refused]), &m) != nil {
		return nil
	}
	return m
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
