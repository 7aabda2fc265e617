package clb

import (
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// TestCoarseBatch looks at the one disputed answer about permissions; tests/conformance
// has what isn't.
func TestCoarseBatch(t *testing.T) {
	cases := map[string]struct {
		reason   string
		coarse   bool
		resource string
		want     string // error code of a batch call
	}{
		"Named":     {"By default the resources of a batch call count.", false, `"qcs::clb:::clb/*","qcs::vpc:::eni/*"`, "InvalidParameter.LBIdNotFound"},
		"Coarse":    {"As an operation-level action it has none to name.", true, `"qcs::clb:::clb/*","qcs::vpc:::eni/*"`, "UnauthorizedOperation"},
		"CoarseAll": {"All of them are.", true, `"*"`, "InvalidParameter.LBIdNotFound"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy, err := cam.Parse([]byte(`{"version":"2.0","statement":[{"effect":"allow","action":"clb:*","resource":[` + tc.resource + `]}]}`))
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, func(o *Options) {
				o.CoarseBatch = tc.coarse
				o.Store.Add(tc3.Credential{SecretID: "sub", SecretKey: "key", Policies: []cam.Policy{policy}})
			})
			sub := newClient(t, r.Server, "sub", "key")
			bind, unbind := api.NewBatchRegisterTargetsRequest(), api.NewBatchDeregisterTargetsRequest()
			bind.LoadBalancerId = new("lb-00000000")
			bind.Targets = []*api.BatchTarget{{ListenerId: new("lbl-00000000"), EniIp: new("127.77.1.1"), Port: new(int64(80))}}
			unbind.LoadBalancerId, unbind.Targets = bind.LoadBalancerId, bind.Targets
			_, first := sub.BatchRegisterTargets(bind)
			_, second := sub.BatchDeregisterTargets(unbind)
			for action, err := range map[string]error{"BatchRegisterTargets": first, "BatchDeregisterTargets": second} {
				if got := code(err); got != tc.want {
					t.Errorf("%s: %s: want %s, got %v", tc.reason, action, tc.want, err)
				}
			}
		})
	}
}
