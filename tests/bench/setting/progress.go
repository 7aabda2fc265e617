// Package setting is what benchmarks take place in: pods that run nowhere but answer
// health checks, a CLB, an account that reaches both, and words for who waits.
package setting

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Progress tells a person what goes on, on stderr, with the time so far.
type Progress struct{ Began time.Time }

// Say tells one line.
func (p *Progress) Say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%5.0f s  %s\n", time.Since(p.Began).Seconds(), fmt.Sprintf(format, args...))
}

// Write passes on what others say.
func (p *Progress) Write(b []byte) (int, error) { return os.Stderr.Write(b) }

// glance is how often is looked whether what is awaited has come.
const glance = 100 * time.Millisecond

// patience is how long anything that was set in motion may take.
const patience = 3 * time.Minute

// Await polls until done or patience is at its end.
func Await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-time.After(glance):
		}
	}
}
