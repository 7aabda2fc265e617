package reconcile

import (
	"context"
	"strings"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// gatesName is the ConfigMap of selectors from which an admission policy of the API
// server's own (infra/policy) knows which pods to give a gate while the webhook is away.
// An entry is a Service's or Ingress's: its key namespace.kind.name, its value a selector
// a line.
const gatesName = "clb-direct-gates"

// keepSelectors writes down what the subjects that are ours select, before anything else
// is done about them. It never keeps a pass from its work.
func (p *pass) keepSelectors(ctx context.Context, subjects []*subject) {
	entries := map[string]string{}
	for _, s := range subjects {
		ours, problem := desired.Claimed(s.Object, p.Policy)
		if problem != nil && !s.Deleting {
			continue // what can't be read is neither yes nor no
		}
		value := ""
		if ours {
			value = strings.Join(desired.SelectorsOf(s.Object, s.Sources), "\n")
		}
		entries[s.Namespace+"."+strings.ToLower(string(s.Kind))+"."+s.Name] = value
	}
	ref := model.Ref{Namespace: p.LeaseNamespace, Name: gatesName}
	n, err := p.Kube.PutEntries(ctx, ref, entries, p.req.Sync.Everything())
	if err != nil && !fault.Is(err, fault.NotFound) {
		p.fail(err)
	}
	if n > 0 {
		p.wrote("Selectors", n)
	}
}
