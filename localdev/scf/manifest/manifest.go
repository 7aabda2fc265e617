// Package manifest reads a serverless.yml of component multi-scf: what it deploys, and
// what is wrong with it. One schema serves both, so that what runs on this machine is
// what the lint has passed.
package manifest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// DefaultRegion is the component's, for a file that names none.
const DefaultRegion = "ap-guangzhou"

// Manifest is what a file deploys, as far as running the functions needs it.
type Manifest struct {
	// Region is where they are deployed.
	Region string
	// Functions is sorted by key.
	Functions []Function
}

// Function is one function of the manifest with the common inputs and the component's
// defaults applied, and its triggers.
type Function struct {
	// Key is the function's key in the manifest, Name its name on the platform.
	Key, Name string
	Namespace string
	// Handler is the executable's name at the root of the package.
	Handler string
	// MemoryMB is the memory limit in megabytes.
	MemoryMB int
	// Timeout limits one event, InitTimeout the start of an instance.
	Timeout, InitTimeout time.Duration
	// Environment is what the manifest sets; the platform adds its own.
	Environment map[string]string
	// URL tells that a trigger gives the function a URL.
	URL bool
	// CAM has the URL ask for a signature (authType).
	CAM bool
	// Timers and Topics are its other triggers, in the order of the file.
	Timers []Timer
	Topics []Topic
}

// Timer is a timer trigger.
type Timer struct {
	Name string
	// Cron is the expression that ParseSchedule reads.
	Cron string
	// Argument is what events carry as Message.
	Argument string
	Enabled  bool
}

// Topic is a CKafka trigger.
type Topic struct {
	// Instance is the id of the CKafka instance, Name the topic's.
	Instance, Name string
	// MaxMessages bounds a batch; Retries is how often a failed one is tried again.
	MaxMessages, Retries int
	// Offset is where it begins: latest, earliest or a time in Unix seconds.
	Offset  string
	Enabled bool
}

// Defaults of a CKafka trigger ("CKafka trigger").
const (
	defaultMessages = 100
	defaultRetries  = 10000
	defaultOffset   = "latest"
)

// Read reads the serverless.yml at path. What Lint would call an error, warnings aside,
// is one that names the field, and so is what the emulator doesn't run, so that nothing
// is ignored in silence.
func Read(path string, with Deployment) (*Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Parse(data, with)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

// Parse is Read for a file already read.
func Parse(data []byte, with Deployment) (*Manifest, error) {
	top, err := decodeYAML(data)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, f := range lint(top, with) {
		if !f.Warning {
			errs = append(errs, errors.New(f.String()))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if top, err = resolveVariables(top, with.Env); err != nil {
		return nil, err
	}
	return build(top)
}

func build(top map[string]any) (*Manifest, error) {
	// The lint has seen to it that these are there.
	inputs := top["inputs"].(map[string]any)
	functions := inputs["functions"].(map[string]any)

	m := &Manifest{Region: orElse(str(inputs["region"]), DefaultRegion)}
	for _, k := range slices.Sorted(maps.Keys(functions)) {
		own := functions[k].(map[string]any)
		f, err := buildFunction("inputs.functions."+k, merge(inputs, own))
		if err != nil {
			return nil, err
		}
		f.Key, f.Name = k, nameOf(top, inputs, own, k)
		m.Functions = append(m.Functions, f)
	}
	return m, addTriggers(m, inputs["triggers"])
}

func buildFunction(field string, keys map[string]any) (Function, error) {
	var in struct {
		Namespace    string `json:"namespace"`
		Type         string `json:"type"`
		Runtime      string `json:"runtime"`
		Handler      string `json:"handler"`
		MemorySize   *int   `json:"memorySize"`
		Timeout      *int   `json:"timeout"`
		InitTimeout  *int   `json:"initTimeout"`
		Environments []struct {
			Key   string `json:"key"`
			Value any    `json:"value"`
		} `json:"environments"`
		Image any `json:"image"`
	}
	if err := remarshal(field, keys, &in); err != nil {
		return Function{}, err
	}
	switch {
	case in.Runtime != "Go1":
		return Function{}, fmt.Errorf("%s.runtime: %q is not emulated, want Go1", field, in.Runtime)
	case in.Type != "" && in.Type != "event":
		return Function{}, fmt.Errorf("%s.type: %q is not emulated, want event", field, in.Type)
	case in.Image != nil:
		return Function{}, fmt.Errorf("%s.image: images are not emulated", field)
	}
	f := Function{
		Namespace:   orElse(in.Namespace, defaultNamespace),
		Handler:     orElse(in.Handler, defaultHandler),
		MemoryMB:    derefOr(in.MemorySize, defaultMemoryMB),
		Timeout:     time.Duration(derefOr(in.Timeout, defaultTimeout)) * time.Second,
		InitTimeout: time.Duration(derefOr(in.InitTimeout, defaultInitTimeout)) * time.Second,
		Environment: map[string]string{},
	}
	for _, v := range in.Environments {
		f.Environment[v.Key] = plain(v.Value)
	}
	return f, nil
}

func addTriggers(m *Manifest, v any) error {
	entries, _ := v.([]any)
	for i, entry := range entries {
		field := fmt.Sprintf("inputs.triggers[%d]", i)
		var t struct {
			Type       string `json:"type"`
			Function   string `json:"function"`
			Parameters struct {
				Name       string `json:"name"`
				AuthType   string `json:"authType"`
				Cron       string `json:"cronExpression"`
				Argument   string `json:"argument"`
				Enable     *bool  `json:"enable"`
				Topic      string `json:"topic"`
				MaxMessage *int   `json:"maxMsgNum"`
				Retry      *int   `json:"retry"`
				Offset     any    `json:"offset"`
			} `json:"parameters"`
		}
		if err := remarshal(field, entry, &t); err != nil {
			return err
		}
		f := &m.Functions[slices.IndexFunc(m.Functions, func(f Function) bool { return f.Key == t.Function })]
		p := t.Parameters
		enabled := p.Enable == nil || *p.Enable
		switch t.Type {
		case "http":
			f.URL = f.URL || enabled
			f.CAM = f.CAM || enabled && p.AuthType == "CAM"
		case "timer":
			f.Timers = append(f.Timers, Timer{Name: p.Name, Cron: p.Cron, Argument: p.Argument, Enabled: enabled})
		case "ckafka":
			f.Topics = append(f.Topics, Topic{
				Instance: p.Name, Name: p.Topic, Enabled: enabled,
				MaxMessages: derefOr(p.MaxMessage, defaultMessages), Retries: derefOr(p.Retry, defaultRetries),
				Offset: orElse(plain(p.Offset), defaultOffset),
			})
		default:
			return fmt.Errorf("%s.type: %q is not emulated, want http, timer or ckafka", field, t.Type)
		}
	}
	return nil
}
