package fault

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Switches are what goes wrong until it is switched off again, and isn't about single
// calls or events. The zero value is all off.
type Switches struct {
	// FreezeHealth is clb.Server.FreezeHealth, HideHealth and FailTargets, with the
	// addresses that they are about, those of that name.
	FreezeHealth bool         `json:"freezeHealth"`
	HideHealth   []netip.Addr `json:"hideHealth"`
	FailTargets  []netip.Addr `json:"failTargets"`
	// SkewMillis is how far the clocks of who signs calls are behind; below 0, ahead.
	SkewMillis int `json:"skewMillis"`
	// Silent has the forwarder's way to the API server go silent.
	Silent bool `json:"silent"`
}

// Switches is how they are.
func (f *Faults) Switches() Switches {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.switches
}

// Switch changes them, in one step. It is an error to switch on what needs a part that
// isn't there; then nothing is changed.
func (f *Faults) Switch(change func(*Switches) error) error {
	f.switching.Lock()
	defer f.switching.Unlock()
	to := f.Switches()
	to.HideHealth, to.FailTargets = slices.Clone(to.HideHealth), slices.Clone(to.FailTargets)
	if err := change(&to); err != nil {
		return err
	}
	return f.set(to)
}

func (f *Faults) set(to Switches) error {
	health := to.FreezeHealth || len(to.HideHealth) > 0 || len(to.FailTargets) > 0
	switch {
	case health && f.parts.CLB == nil:
		return errors.New("freezeHealth, hideHealth, failTargets: there is no CLB here")
	case to.SkewMillis != 0 && f.parts.Store == nil:
		return errors.New("skewMillis: nobody checks signatures here")
	case to.Silent && f.parts.Link == nil:
		return errors.New("silent: no forwarder of ours reaches the API server over a link here")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.parts.CLB; c != nil {
		c.FreezeHealth(to.FreezeHealth)
		c.HideHealth(to.HideHealth...)
		c.FailTargets(to.FailTargets...)
	}
	if s := f.parts.Store; s != nil {
		s.SetSkew(time.Duration(to.SkewMillis) * time.Millisecond)
	}
	if l := f.parts.Link; l != nil && l.Silent() != to.Silent {
		l.Silence(to.Silent)
	}
	f.switches = to
	return nil
}
