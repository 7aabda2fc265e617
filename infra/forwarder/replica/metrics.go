package replica

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/clb-direct/clb-direct/infra/forwarder/drain"
	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/relay"
	"github.com/clb-direct/clb-direct/infra/forwarder/watch"
	"github.com/clb-direct/clb-direct/infra/forwarder/webhook"
	"github.com/clb-direct/clb-direct/shared/event"
)

const prefix = "clb_direct_forwarder_"

// metrics are what a replica exports.
type metrics struct {
	registry  *prometheus.Registry
	sends     *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	leading   prometheus.Gauge
	dropped   prometheus.Counter
	holds     *prometheus.HistogramVec
	opened    prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "sends_total", Help: "Events sent, by function and result: ok, a failure's kind, or the code of a send that got no reply.",
		}, []string{"function", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "send_seconds", Help: "Time from sending an event to its reply.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"function"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "webhook_decisions_total", Help: "Admission reviews, by what was decided.",
		}, []string{"decision"}),
		holds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "drain_hold_seconds", Help: "How long drain hooks were held, by how that ended.",
			Buckets: []float64{.1, .25, .5, 1, 2, 3, 5, 7.5, 10, 15, 20},
		}, []string{"outcome"}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "gates_opened_total", Help: "Readiness gates opened by declared policy, as the function that decides them did not answer.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "dropped_total", Help: "Changes that were given up, because no event could be made of them. Always 0: anything else is a defect.",
		}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "leading", Help: "1 while this replica sends."}),
	}
	m.registry.MustRegister(m.dropped, m.sends, m.seconds, m.decisions, m.leading, m.holds, m.opened, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, d := range []webhook.Decision{webhook.Gated, webhook.Had, webhook.Unselected, webhook.Other, webhook.Malformed, webhook.Unknown} {
		m.decisions.WithLabelValues(string(d))
	}
	for _, o := range drain.Outcomes {
		m.holds.WithLabelValues(string(o))
	}
	return m
}

// Sent counts a send.
func (m *metrics) Sent(f event.Function, result string, took time.Duration) {
	m.sends.WithLabelValues(string(f), result).Inc()
	m.seconds.WithLabelValues(string(f)).Observe(took.Seconds())
}

// Dropped counts a change that was given up.
func (m *metrics) Dropped() { m.dropped.Inc() }

func (m *metrics) decided(d webhook.Decision) { m.decisions.WithLabelValues(string(d)).Inc() }

func (m *metrics) held(o drain.Outcome, took time.Duration) {
	m.holds.WithLabelValues(string(o)).Observe(took.Seconds())
}

// state collects what is known only when asked for.
type state struct {
	index *index.Index
	relay *relay.Relay
	pulse *watch.Pulse
	now   func() time.Time
}

var (
	oldest  = prometheus.NewDesc(prefix+"oldest_unacknowledged_seconds", "Age of the oldest change that no function has answered for.", []string{"function"}, nil)
	queued  = prometheus.NewDesc(prefix+"queue_length", "Partitions by function and state: waiting to be sent, being sent, to be called again later, parked after a permanent failure.", []string{"function", "state"}, nil)
	relists = prometheus.NewDesc(prefix+"lists_total", "Full lists of a resource; more than one means that a watch was lost.", []string{"resource"}, nil)
	waiting = prometheus.NewDesc(prefix+"undecided_pods", "Pods that are selected for a Service or Ingress of ours and that wait for their gate.", nil, nil)
	age     = prometheus.NewDesc(prefix+"watch_silent_seconds", "Time since a resource's watch last said anything; a bookmark comes about every minute.", []string{"resource"}, nil)
)

// Describe sends nothing: what there is to collect depends on what happens.
func (s state) Describe(chan<- *prometheus.Desc) {}

// Collect reads queue and watches.
func (s state) Collect(ch chan<- prometheus.Metric) {
	stats := s.relay.Stats()
	for _, f := range event.Functions {
		st := stats[f]
		seconds := 0.0
		if !st.Oldest.IsZero() {
			seconds = s.now().Sub(st.Oldest).Seconds()
		}
		ch <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, seconds, string(f))
		for name, n := range map[string]int{"waiting": st.Waiting, "sending": st.Sending, "later": st.Later, "parked": st.Parked} {
			ch <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(n), string(f), name)
		}
	}
	ch <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(s.index.Undecided()))
	for resource, n := range s.pulse.Lists() {
		ch <- prometheus.MustNewConstMetric(relists, prometheus.CounterValue, float64(n), resource)
	}
	for resource, d := range s.pulse.Ages() {
		ch <- prometheus.MustNewConstMetric(age, prometheus.GaugeValue, d.Seconds(), resource)
	}
}
