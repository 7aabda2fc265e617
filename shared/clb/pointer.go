package clb

// The SDK's structs are all pointers: these go from there to values and back.

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func ptr[T any](v T) *T { return &v }

// values leaves out nothing, so that what comes in order stays so.
func values[T any](in []*T) []T {
	var out []T
	for _, p := range in {
		out = append(out, value(p))
	}
	return out
}

func pointers[T any](in []T) []*T {
	if len(in) == 0 {
		return nil
	}
	out := make([]*T, len(in))
	for i := range in {
		out[i] = &in[i]
	}
	return out
}

func int64s(p *int) *int64 {
	if p == nil {
		return nil
	}
	return ptr(int64(*p))
}

// flag is a switch as the API has most of them, 1 or 0.
func flag(on bool) *int64 {
	if on {
		return ptr(int64(1))
	}
	return ptr(int64(0))
}

func nonempty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// changed is what a request says of a number: nothing where it stays.
func changed(have, want int) *int64 {
	if have == want {
		return nil
	}
	return ptr(int64(want))
}

// changedText is the same for a text, which can't be taken away.
func changedText(have, want string) *string {
	if have == want {
		return nil
	}
	return nonempty(want)
}
