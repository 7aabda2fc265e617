package main

// What is read of each report. The names are the reports' own, in the packages that write
// them, which say what the fields mean.

type demoReport struct {
	Pods     []podWay `json:"pods"`
	Requests struct {
		Sent   int `json:"sent"`
		Failed int `json:"failed"`
	} `json:"requests"`
	ClientIPPreserved bool `json:"client_ip_preserved"`
	TargetsEqualPods  bool `json:"targets_equal_pods"`
	Kill              struct {
		RecoveredMS int `json:"recovered_ms"`
	} `json:"kill"`
	LeftBehind map[string]int `json:"left_behind"`
	Latencies  latencies      `json:"latencies"`
}

// podWay is a pod's way to Ready, in milliseconds since its creation.
type podWay struct {
	BoundMS           int64 `json:"bound_ms"`
	ContainersReadyMS int64 `json:"containers_ready_ms"`
	AliveMS           int64 `json:"alive_ms"`
	ReadyMS           int64 `json:"ready_ms"`
}

// latencies are what the emulated CLB was set to, in milliseconds.
type latencies struct {
	API         float64    `json:"api_ms"`
	Task        [2]float64 `json:"task_ms"`
	Busy        float64    `json:"busy_after_write_ms"`
	Propagation [2]float64 `json:"propagation_ms"`
	Create      float64    `json:"create_load_balancer_ms"`
}

type demoIngressReport struct {
	Pods     []podWay `json:"pods"`
	Requests struct {
		Total  int `json:"total"`
		Failed int `json:"failed"`
		Kept   int `json:"on_kept_connections"`
	} `json:"requests"`
	Redirects struct {
		Sent     int `json:"sent"`
		Followed int `json:"followed"`
	} `json:"redirects"`
	RollingUpdate struct {
		Seconds  float64 `json:"seconds"`
		Requests int     `json:"requests"`
		Failed   int     `json:"failed"`
	} `json:"rolling_update"`
	TargetsEqualPods bool           `json:"targets_equal_pods"`
	LeftBehind       map[string]int `json:"left_behind"`
}

// asked counts requests.
type asked struct {
	Requests  int `json:"requests"`
	Failed    int `json:"failed"`
	WrongPod  int `json:"wrong_pod"`
	Premature int `json:"premature"`
}

// quantiles are of durations, in milliseconds.
type quantiles struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
	N   int   `json:"n"`
}

type kubeletReport struct {
	Rollouts int `json:"rollouts"`
	asked
	DrainedRatio           float64                `json:"drained_before_sigterm_ratio"`
	ContainersReadyToReady quantiles              `json:"containers_ready_to_ready_ms"`
	GateToReady            quantiles              `json:"gate_to_ready_ms"`
	DeleteToSIGTERM        quantiles              `json:"delete_to_sigterm_ms"`
	Pods                   int                    `json:"pods"`
	Terminated             int                    `json:"containers_terminated"`
	Drained                int                    `json:"containers_drained_before_sigterm"`
	AddressesReused        int                    `json:"addresses_reused"`
	Ends                   map[string]kubeletEnds `json:"ends"`
	Seconds                float64                `json:"seconds"`
}

type kubeletEnds struct {
	With    kubeletEnd `json:"with_drain"`
	Without kubeletEnd `json:"without_drain"`
}

type kubeletEnd struct {
	Containers     int     `json:"containers"`
	SIGTERMAfterMS []int64 `json:"sigterm_after_ms"`
	DrainedFirst   int     `json:"drained_before_sigterm"`
	asked
}

type benchReport struct {
	Planner map[string]map[string]struct {
		NsPerOp     int64 `json:"ns_per_op"`
		AllocsPerOp int64 `json:"allocs_per_op"`
	} `json:"planner"`
	Passes map[string]map[string]struct {
		Millis    float64        `json:"ms"`
		HandOvers int            `json:"hand_overs"`
		CLBCalls  map[string]int `json:"clb_calls"`
	} `json:"passes"`
	Memory map[string]map[string]struct {
		MB      float64 `json:"mb"`
		LimitMB int     `json:"limit_mb"`
	} `json:"peak_resident_memory"`
	ColdStart map[string]struct {
		Millis float64 `json:"ms"`
	} `json:"cold_start_to_first_answer"`
	Demands []struct {
		Name  string  `json:"name"`
		Limit float64 `json:"limit"`
		Got   float64 `json:"got"`
		Met   bool    `json:"met"`
	} `json:"demands"`
}

type rulesReport struct {
	Calls struct {
		Total    int            `json:"total"`
		Refused  int            `json:"refused"`
		ByAction map[string]int `json:"by_action"`
	} `json:"calls"`
	Seconds    float64            `json:"seconds"`
	Floor      float64            `json:"floor_seconds"`
	FloorParts map[string]float64 `json:"floor_parts_seconds"`
	Ratio      float64            `json:"ratio"`
	MaxRatio   float64            `json:"max_ratio"`
	Milestones map[string]float64 `json:"milestones_seconds"`
	Constants  struct {
		Rules    int `json:"rules"`
		Pods     int `json:"pods"`
		Bindings int `json:"bindings"`
	} `json:"constants"`
	Reached bool `json:"end_reached"`
	Met     bool `json:"demand_met"`
}

type forwarderReport struct {
	// A scenario's figures are numbers, and text for their spread.
	Ours        map[string]map[string]any `json:"ours"`
	Baseline    map[string]map[string]any `json:"baseline"`
	Ratios      map[string]float64        `json:"ratios"`
	RSS         map[string]float64        `json:"rss_mib"`
	Start10000  float64                   `json:"start_10000_seconds,omitempty"`
	Takeover    float64                   `json:"takeover_seconds,omitempty"`
	Handover    float64                   `json:"handover_seconds,omitempty"`
	Differences []string                  `json:"differences"`
	Failures    []string                  `json:"failures"`
	Rounds      int                       `json:"rounds"`
}

type soakReport struct {
	Minutes    float64        `json:"minutes"`
	Changes    int            `json:"changes"`
	PerSecond  float64        `json:"changes_per_second"`
	Faults     map[string]int `json:"faults"`
	Lost       int            `json:"lost"`
	Heap       []float64      `json:"heap_mib"`
	FirstThird float64        `json:"heap_first_third_mib"`
	LastThird  float64        `json:"heap_last_third_mib"`
	Peak       float64        `json:"rss_peak_mib"`
}

type emulatorReport struct {
	Rate   int                      `json:"rate"`
	Pods   int                      `json:"pods"`
	Layers map[string]emulatorLayer `json:"layers"`
}

type emulatorLayer struct {
	PerSecond   float64 `json:"per_second"`
	CorePercent float64 `json:"core_percent"`
	ThroughMs   float64 `json:"through_ms"`
	StraightMs  float64 `json:"straight_ms"`
	AddedMs     float64 `json:"added_ms"`
}

type lifecycleReport struct {
	Steps []struct {
		Name     string  `json:"name"`
		Seconds  float64 `json:"seconds"`
		Requests int     `json:"requests"`
		Failed   int     `json:"failed"`
	} `json:"steps"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Seconds  float64 `json:"seconds"`
}

type driftReport struct {
	Seed    uint64 `json:"seed"`
	Changes []struct {
		Kind    string  `json:"kind"`
		Seconds float64 `json:"seconds"`
		Healed  bool    `json:"healed"`
	} `json:"changes"`
	Healed         int     `json:"healed"`
	ForeignTouched int     `json:"foreign_touched"`
	SecondsMax     float64 `json:"seconds_max"`
	SecondsMean    float64 `json:"seconds_mean"`
	Idle           struct {
		Total float64 `json:"total"`
	} `json:"calls_per_minute_idle"`
	HealthyAgain bool `json:"healthy_again"`
}

type chaosReport struct {
	chaosTally
	DrainedRatio    float64               `json:"drained_before_sigterm_ratio"`
	ByFault         map[string]chaosTally `json:"by_fault"`
	ByKind          map[string]int        `json:"requests_by_kind"`
	FenceMS         quantiles             `json:"fence_ungraceful_ms"`
	AddressesReused int                   `json:"addresses_reused"`
	Pods            int                   `json:"pods"`
	Seed            uint64                `json:"seed"`
}

type chaosTally struct {
	Rollouts int `json:"rollouts"`
	asked
	Destroyed       int     `json:"failed_destroyed"`
	WrongUngraceful int     `json:"wrong_pod_ungraceful"`
	PrematureAgain  int     `json:"premature_restarted"`
	Late            int     `json:"after_sigterm"`
	Terminated      int     `json:"sigterms"`
	Drained         int     `json:"drained_before_sigterm"`
	HoldBroken      int     `json:"hold_broken"`
	Met             int     `json:"met"`
	Seconds         float64 `json:"seconds"`
}

type conformanceReport struct {
	Cases     int                           `json:"cases"`
	Passed    int                           `json:"passed"`
	Skipped   int                           `json:"skipped"`
	BySection map[string]conformanceSection `json:"by_section"`
	Ended     bool                          `json:"ended"`
}

type conformanceSection struct {
	Cases   int `json:"cases"`
	Passed  int `json:"passed"`
	Skipped int `json:"skipped"`
}

type mutantsReport struct {
	Mutants int `json:"mutants"`
	Noticed int `json:"noticed"`
	List    []struct {
		File    string `json:"file"`
		Why     string `json:"why"`
		Noticed bool   `json:"noticed"`
	} `json:"list"`
}

type modelReport struct {
	Steps          int      `json:"steps"`
	Walks          int      `json:"walks"`
	Violations     []string `json:"violations"`
	StepsPerSecond float64  `json:"steps_per_second"`
	Mutants        []struct {
		Name   string `json:"name"`
		File   string `json:"file"`
		Caught bool   `json:"caught"`
		Steps  int    `json:"steps"`
	} `json:"mutants"`
}
