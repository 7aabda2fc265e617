package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// balancer is a CLB under its name in this play.
type balancer struct{ name, id string }

// holding is a listener, or a rule of one, and what is bound there.
type holding struct {
	place
	targets []model.Target
	// ours tells that we made the listener, by its name.
	ours bool
	// text is all of it, settings and targets, without ids: what is made again has
	// others.
	text string
}

// picture is what CLBs hold, by "name PROTOCOL:port" of the listener, with " host/path"
// of the rule.
type picture map[string]holding

// look takes a picture of the CLBs.
func look(ctx context.Context, session *clb.Session, balancers []balancer) (picture, error) {
	parts := make([]picture, len(balancers))
	g, ctx := errgroup.WithContext(ctx)
	for i, b := range balancers {
		g.Go(func() error {
			listeners, err := session.Listeners(ctx, b.id)
			if err != nil {
				return err
			}
			var ids []string
			for _, l := range listeners {
				ids = append(ids, l.ID)
			}
			targets, err := session.Targets(ctx, b.id, ids, clb.TargetFilter{})
			parts[i] = pictureOf(b, listeners, targets)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := picture{}
	for _, part := range parts {
		for name, h := range part {
			all[name] = h
		}
	}
	return all, nil
}

func pictureOf(b balancer, listeners []model.Listener, targets []model.Target) picture {
	bound := map[model.Place][]model.Target{}
	for _, t := range targets {
		bound[t.Place] = append(bound[t.Place], t)
	}
	p := picture{}
	add := func(name string, at model.Place, ours bool, settings any) {
		ts := bound[at]
		slices.SortFunc(ts, func(x, y model.Target) int { return x.Key().Compare(y.Key()) })
		lines := []string{fmt.Sprintf("%+v", settings)}
		for _, t := range ts {
			lines = append(lines, fmt.Sprintf("%s weight %d tag %s", t.Address, t.Weight, t.Tag))
		}
		p[name] = holding{place: place{b.id, at}, targets: ts, ours: ours, text: strings.Join(lines, "\n")}
	}
	for _, l := range listeners {
		name := fmt.Sprintf("%s %s:%d", b.name, l.Protocol, l.Port)
		_, ours := desired.OwnerOf(l.Name)
		rules := l.Rules
		at := model.Place{Listener: l.ID}
		l.ID, l.Rules = "", nil
		add(name, at, ours, l)
		for _, r := range rules {
			at.Location, r.ID = r.ID, ""
			add(name+" "+r.Domain+r.Path, at, ours, r)
		}
	}
	return p
}

// id is what a holding of somebody else's must keep besides its text.
func (h holding) id() string { return h.lb + "/" + h.Place.String() }
