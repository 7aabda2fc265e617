package scf_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// BenchmarkWarmEvent is what the emulator itself adds to an event: thawing, two calls
// to the process, freezing, and HTTP.
func BenchmarkWarmEvent(b *testing.B) {
	e := start(b, func(o *scf.Options) { o.Concurrency = 1 })
	url := e.URL("url")
	for b.Loop() {
		response, err := http.Post(url, "application/json", strings.NewReader(`{}`))
		if err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Fatalf("status %d", response.StatusCode)
		}
	}
}
