package conformance

import (
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// fact is one documented fact.
type fact struct {
	name string
	// source is where it is documented: an API page, a field's comment in the SDK, a
	// document's number, or who saw it.
	source string
	// options are what the emulator needs for it to be seen, such as a smaller quota:
	// never what decides the outcome. They are without effect on the cloud.
	options []func(*clb.Options)
	// needs is what it can't be seen without.
	needs need
	// check fails the test where the fact doesn't hold.
	check func(t *testing.T, c *cloud)
}

// need is what not every place to run has.
type need int

const (
	// Nothing but the API unless said.
	_ need = iota
	// backends that answer.
	backends
	// subnet for internal load balancers.
	subnet
	// function that is deployed.
	function
	// rig is what only an emulator lets a test set up: its clock, an account with small
	// quotas, another account.
	rig
)

// dispute is a fact about which sources differ: check says under which profile what it
// sees is right, "" for the default one.
type dispute struct {
	name, source string
	// profiles are those besides the default one that answer it otherwise.
	profiles []string
	needs    need
	observe  func(t *testing.T, c *cloud) (profile string)
}

// hold runs a section of facts, side by side on emulators.
func hold(t *testing.T, section string, facts []fact) {
	t.Run(section, func(t *testing.T) {
		for _, f := range facts {
			plain(t, f.name)
			t.Run(f.name, func(t *testing.T) {
				c := newCloud(t, f.needs, f.options...)
				f.check(t, c)
			})
		}
	})
}

// settle runs a section of disputes: on emulators under each profile, on the cloud to
// see which one it follows.
func settle(t *testing.T, section string, disputes []dispute) {
	t.Run(section, func(t *testing.T) {
		for _, d := range disputes {
			plain(t, d.name)
			for _, p := range append([]string{""}, d.profiles...) {
				if place.cloud() && p != "" {
					continue
				}
				name := p
				if name == "" {
					name = "default"
				}
				t.Run(d.name+"/"+name, func(t *testing.T) {
					c := newCloud(t, d.needs, func(o *clb.Options) { under(t, o, p) })
					got := d.observe(t, c)
					if place.cloud() {
						t.Logf("observed: %q", got)
						return
					}
					if got != p {
						t.Errorf("an emulator of profile %q behaves as one of %q", p, got)
					}
				})
			}
		}
	})
}

// plain requires a name that is one level of subtests, which is what reports count.
func plain(t *testing.T, name string) {
	t.Helper()
	if strings.Contains(name, "/") {
		t.Fatalf("a slash in %q makes two levels of it", name)
	}
}

// under sets the options of a profile.
func under(t *testing.T, o *clb.Options, name string) {
	t.Helper()
	if name == "" {
		return
	}
	p, ok := clb.ProfileByName(name)
	if !ok {
		t.Fatalf("there is no profile %q", name)
	}
	p.Set(o)
}
