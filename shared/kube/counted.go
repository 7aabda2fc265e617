package kube

import "io"

// countedBody adds up what is read of an answer.
type countedBody struct {
	io.ReadCloser
	clock *serverClock
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.clock.mu.Lock()
	b.clock.bytes += int64(n)
	b.clock.mu.Unlock()
	return n, err
}
