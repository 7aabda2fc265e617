package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/record"
)

// soaked is what a soak's report says.
type soaked struct {
	Minutes float64 `json:"minutes"`
	Changes int     `json:"changes"`
	// PerSecond is what was written in fact.
	PerSecond float64        `json:"changes_per_second"`
	Faults    map[string]int `json:"faults"`
	Lost      int            `json:"lost"`
	// Heap is the live heap after collections, in MiB, by minute; the thirds are means.
	Heap       []float64 `json:"heap_mib"`
	FirstThird float64   `json:"heap_first_third_mib"`
	LastThird  float64   `json:"heap_last_third_mib"`
	Peak       float64   `json:"rss_peak_mib"`
	Failures   []string  `json:"failures"`
}

// soakRate is how many changes a second are written.
const soakRate = 200

// faults are what a sink does wrong.
var faults = map[string]func() (delay time.Duration, status int){
	"500":  func() (time.Duration, int) { return 0, http.StatusInternalServerError },
	"503":  func() (time.Duration, int) { return 0, http.StatusServiceUnavailable },
	"429":  func() (time.Duration, int) { return 0, http.StatusTooManyRequests },
	"slow": func() (time.Duration, int) { return 2 * time.Second, 0 },
	"hang": func() (time.Duration, int) { return 8 * time.Second, 0 }, // longer than is waited for
}

// soak changes pods at a constant rate for long, over a sink that is faulty at random,
// and looks whether memory grows and whether anything is lost.
func (b *bench) soak(ctx context.Context) error {
	if err := b.populate(ctx, 1000, small); err != nil {
		return err
	}
	p, err := b.start(ours, "soak")
	if err != nil {
		return err
	}
	if err := b.attached(ctx, p, b.keys); err != nil {
		return err
	}
	b.sink.forget()
	r := &soaked{Faults: map[string]int{}, Failures: []string{}}
	spoil, stop := context.WithCancel(ctx)
	var spoiling sync.WaitGroup
	spoiling.Go(func() { b.spoil(spoil, r) })
	failed := b.load(ctx, p, r)
	stop()
	spoiling.Wait()
	b.sink.behave(0, nil)
	if failed != nil {
		return failed
	}
	r.Lost, _ = b.await(b.keys, 70*time.Second)
	_, r.Peak, err = p.memory()
	if err != nil {
		return err
	}
	return r.conclude(b.o.out)
}

// spoil has the sink be faulty now and then, for some seconds each.
func (b *bench) spoil(ctx context.Context, r *soaked) {
	kinds := []string{"500", "503", "429", "slow", "hang"}
	pause := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	for pause(time.Duration(2+rand.IntN(8)) * time.Second) {
		kind := kinds[rand.IntN(len(kinds))]
		delay, status := faults[kind]()
		r.Faults[kind]++
		b.sink.behave(delay, func() int { return status })
		ok := pause(time.Duration(1+rand.IntN(5)) * time.Second)
		b.sink.behave(0, nil)
		if !ok {
			return
		}
	}
}

// load writes at the rate, and looks at the heap about forty times.
func (b *bench) load(ctx context.Context, p *program, r *soaked) error {
	began := time.Now()
	work := make(chan *key, soakRate)
	var writers sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		writers.Go(func() {
			for k := range work {
				if err := b.write(ctx, k); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	next := b.o.soak / 40
	tick := time.NewTicker(time.Second / soakRate)
	defer tick.Stop()
	for time.Since(began) < b.o.soak && ctx.Err() == nil {
		<-tick.C
		for due := int(time.Since(began).Seconds() * soakRate); r.Changes < due; r.Changes++ {
			work <- b.keys[rand.IntN(len(b.keys))]
		}
		if time.Since(began) >= next {
			next += b.o.soak / 40
			heap, err := p.heap()
			if err != nil {
				return err
			}
			r.Heap = append(r.Heap, heap)
			if len(r.Heap)%4 == 0 {
				b.progress.Say("soak: %s of %s, heap %.1f MiB, %d changes", time.Since(began).Round(time.Second), b.o.soak, heap, r.Changes)
			}
		}
	}
	close(work)
	writers.Wait()
	took := time.Since(began)
	r.Minutes, r.PerSecond = took.Minutes(), float64(r.Changes)/took.Seconds()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

var inUse = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// heap is what is live on the program's heap after a collection, in MiB.
func (p *program) heap() (float64, error) {
	res, err := http.Get(p.pprof + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, fmt.Errorf("reading the heap: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, fmt.Errorf("reading the heap: %w", err)
	}
	m := inUse.FindSubmatch(body)
	if m == nil {
		return 0, errors.New("reading the heap: HeapAlloc isn't told")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	return n / (1 << 20), err
}

func (r *soaked) conclude(out string) error {
	mean := func(all []float64) (m float64) {
		for _, v := range all {
			m += v / float64(len(all))
		}
		return m
	}
	third := len(r.Heap) / 3
	r.FirstThird, r.LastThird = mean(r.Heap[:third]), mean(r.Heap[len(r.Heap)-third:])
	if r.Lost > 0 {
		r.Failures = append(r.Failures, fmt.Sprintf("%d of the last states were lost", r.Lost))
	}
	if r.LastThird > 1.1*r.FirstThird {
		r.Failures = append(r.Failures, fmt.Sprintf("the heap grew from %.1f to %.1f MiB", r.FirstThird, r.LastThird))
	}
	if err := record.Save(out, r); err != nil {
		return err
	}
	fmt.Printf("%.1f minutes, %.0f changes a second, faults %v: lost %d, heap %.1f MiB, then %.1f, resident at most %.1f\n%s\n",
		r.Minutes, r.PerSecond, r.Faults, r.Lost, r.FirstThird, r.LastThird, r.Peak, out)
	if len(r.Failures) > 0 {
		return fmt.Errorf("not every demand is met: %v", r.Failures)
	}
	return nil
}
