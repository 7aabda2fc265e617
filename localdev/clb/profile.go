package clb

import "slices"

// Profile is one answer to a question about CLB that its sources answer differently, or
// not at all. The zero values of Options, "default", are what the documents say most
// plainly; each other profile differs from it in one answer.
type Profile struct {
	Name string
	// Question is what is disputed, Answer what holds under this profile.
	Question, Answer string
	// Set turns default options into those of the profile.
	Set func(*Options)
}

// Profiles lists all but the default one, by name.
func Profiles() []Profile {
	return []Profile{
		{"async-batch", "Is a batch call done when it answers?", "It starts a task, as other writes do.",
			func(o *Options) { o.AsyncBatch = true }},
		{"client-source", "Whose address do pods behind layer 7 see?", "The client's, where KeepaliveEnable is off.",
			func(o *Options) { o.ClientSource = true }},
		{"keep-unbound", "What becomes of established connections of a target that is unbound?", "They go on.",
			func(o *Options) { o.KeepUnbound = true }},
		{"name-default", "May a listener's default domain be deleted without naming the next one?", "No, where there are others.",
			func(o *Options) { o.NameDefault = true }},
		{"rebind", "Is registering what is bound an error?", "No: its weight and tag change.",
			func(o *Options) { o.Rebind = true }},
		{"refuse-dead", "Where do requests go when all targets are dead?", "They are refused.",
			func(o *Options) { o.RefuseDead = true }},
		{"skip-weight-zero", "Are targets of weight 0 checked?", "No, their health is Unknown.",
			func(o *Options) { o.SkipWeightZero = true }},
		{"unique-backends", "May two layer-4 listeners of a load balancer share an address and port?", "No.",
			func(o *Options) { o.UniqueBackends = true }},
	}
}

// ProfileByName finds one that Profiles lists.
func ProfileByName(name string) (Profile, bool) {
	all := Profiles()
	i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return all[i], true
}
