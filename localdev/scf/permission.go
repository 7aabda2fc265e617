package scf

import (
	"fmt"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// asks is an action on a function, as CAM knows them.
type asks struct{ action, namespace, function string }

// authorize asks the policies of the key that signed.
func (s *Server) authorize(cred tc3.Credential, requestID string, a asks) *tc3.Error {
	if cred.Policies == nil {
		return nil
	}
	invokes := a.action == "Invoke" || a.action == "InvokeFunction"
	if a.action == "Invoke" && !s.opts.OwnInvoke {
		a.action = "InvokeFunction"
	}
	q := cam.Request{Action: apiService + ":" + a.action}
	if !invokes || !s.opts.CoarseInvoke {
		q.Resources = []string{resource(s.opts.Region, orElse(a.namespace, "default"), a.function)}
	}
	if denied := cam.Authorize(cred.Policies, q); denied != nil {
		return &tc3.Error{Code: "UnauthorizedOperation", Message: fmt.Sprintf("[request id:%s]%s", requestID, denied.Error())}
	}
	return nil
}

// resource is the six-part name of a function.
func resource(region, namespace, function string) string {
	return cam.Resource(apiService, region, "namespace/"+namespace+"/function/"+function)
}
