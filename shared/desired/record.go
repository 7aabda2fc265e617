package desired

import (
	"encoding/json"
	"slices"

	"github.com/clb-direct/clb-direct/shared/model"
)

// RecordOf reads which rules f has, or is about to have, of the listeners it shares
// with others: a set of RuleKey. What can't be read is nothing: a rule in no record is
// nobody's, and stays.
func RecordOf(f *model.Front) map[string]bool {
	var keys []string
	if json.Unmarshal([]byte(f.Annotations[Rules]), &keys) != nil {
		return nil
	}
	out := make(map[string]bool, len(keys))
	for _, k := range keys {
		out[k] = true
	}
	return out
}

// RecordValue is the annotation's value for keys, sorted and each once; nil (remove it)
// for none.
func RecordValue(keys []string) any {
	if len(keys) == 0 {
		return nil
	}
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	raw, err := json.Marshal(slices.Compact(sorted)) // a list of strings can't fail
	if err != nil {
		return nil
	}
	return string(raw)
}

// Holds tells whether the place at spot is f's: the listener's name carries f's UID, or
// the listener is shared and f's record has the key. It decodes the record: who asks
// for many spots keeps RecordOf.
func Holds(f *model.Front, spot model.Spot, key string) bool {
	o, ours := OwnerOf(spot.Listener)
	if !ours {
		return false
	}
	return o.UID == f.UID || RecordOf(f)[key]
}

// SpotKey is what a refusal of the place at spot is recorded under: its RuleKey, or the
// PortKey of a layer-4 listener. ok is false for listeners that aren't ours.
func SpotKey(spot model.Spot) (key string, ok bool) {
	o, ours := OwnerOf(spot.Listener)
	switch {
	case !ours:
		return "", false
	case spot.Path == "":
		return PortKey(o.Protocol, o.Port), true
	}
	return RuleKey(o.Protocol, o.Port, spot.Domain, spot.Path), true
}

// Takes tells whether f takes over listeners of others.
func Takes(f *model.Front) bool {
	return f.Kind == model.KindService && f.Annotations[Takeover] == TakeListeners
}

// TakenOf reads which listeners f took over, by PortKey, and what they were called.
func TakenOf(f *model.Front) map[string]string {
	var out map[string]string
	if json.Unmarshal([]byte(f.Annotations[Taken]), &out) != nil {
		return nil
	}
	return out
}

// TakenValue is the annotation's value, nil (remove it) for none.
func TakenValue(names map[string]string) any {
	raw, err := json.Marshal(names) // strings can't fail
	if err != nil || len(names) == 0 {
		return nil
	}
	return string(raw)
}
