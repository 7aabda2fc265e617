package scf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Manifest is what a serverless.yml of component multi-scf deploys, as far as running
// the functions needs it.
type Manifest struct {
	// Region is where they are deployed; DefaultRegion if the file names none.
	Region string
	// Functions is sorted by key.
	Functions []Function
}

// Function is one function of the manifest with the common inputs and the component's
// defaults applied.
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
}

// Limits and defaults of the platform ("Limits", SCF API CreateFunction) and of the
// component (multi-scf, toolkit).
const (
	defaultMemoryMB    = 128
	defaultTimeout     = 3
	defaultInitTimeout = 65
	minInitTimeout     = 3
	maxTimeout         = 900
	maxMemoryMB        = 3072
	maxEnvironment     = 4 << 10
	maxEnvironmentKey  = 64
	defaultHandler     = "main"
	defaultNamespace   = "default"
	supportedRuntime   = "Go1"
	supportedComponent = "multi-scf"
)

var (
	functionName    = regexp.MustCompile(`^[A-Za-z][\w-]{0,58}[A-Za-z0-9]$`)
	handlerName     = regexp.MustCompile(`^[A-Za-z]([\w-]{0,58}[A-Za-z])$`)
	environmentName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]+$`)
)

// Keys that mean something to multi-scf for one function; all of them may also stand
// once in inputs, for all functions.
var functionKeys = []string{
	"name", "namespace", "role", "src", "type", "handler", "runtime", "region", "description", "memorySize",
	"timeout", "initTimeout", "environments", "publicAccess", "installDependency", "vpc", "vpcConfig", "cfs",
	"deadLetter", "layers", "cls", "eip", "asyncRunEnable", "traceEnable", "msgTTL", "retryNum", "tags", "image",
}

var commonKeys = append([]string{"functions", "triggers", "isAutoPublish", "publishDescription"}, functionKeys...)

// ReadManifest reads the serverless.yml at path. Variables in it are resolved from env,
// never from this process's own environment; stage, when not empty, replaces the
// file's. What the component or the platform would refuse is an error that names the
// field, and so is what this emulator doesn't run, so that nothing is ignored in silence.
func ReadManifest(path string, env map[string]string, stage string) (*Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data, env, stage)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

// ParseManifest is ReadManifest for a file already read.
func ParseManifest(data []byte, env map[string]string, stage string) (*Manifest, error) {
	top, err := decodeYAML(data)
	if err != nil {
		return nil, err
	}
	if stage != "" {
		top["stage"] = stage
	}
	if top, err = resolveVariables(top, env); err != nil {
		return nil, err
	}

	component, _ := top["component"].(string)
	if name, _, _ := strings.Cut(component, "@"); name != supportedComponent {
		return nil, fmt.Errorf("component: %q, want %s", component, supportedComponent)
	}
	if err := checkKeys("", top, []string{"component", "name", "app", "stage", "org", "inputs"}); err != nil {
		return nil, err
	}
	for _, key := range []string{"name", "app", "stage"} {
		if s, _ := top[key].(string); s == "" {
			return nil, fmt.Errorf("%s: missing", key)
		}
	}
	inputs, ok := top["inputs"].(map[string]any)
	if !ok {
		return nil, errors.New("inputs: missing")
	}
	if err := checkKeys("inputs.", inputs, commonKeys); err != nil {
		return nil, err
	}
	return buildManifest(top, inputs)
}

func buildManifest(top, inputs map[string]any) (*Manifest, error) {
	functions, _ := inputs["functions"].(map[string]any)
	if len(functions) == 0 {
		return nil, errors.New("inputs.functions: missing")
	}

	region, _ := inputs["region"].(string)
	m := &Manifest{Region: orElse(region, DefaultRegion)}
	for _, key := range slices.Sorted(maps.Keys(functions)) {
		field := "inputs.functions." + key
		own, ok := functions[key].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: not a map", field)
		}
		if err := checkKeys(field+".", own, functionKeys); err != nil {
			return nil, err
		}
		fallback := fmt.Sprintf("%s-%s-%s-%s", top["name"], top["stage"], top["app"], key)
		f, err := buildFunction(field, key, fallback, merge(inputs, own))
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(m.Functions, func(g Function) bool { return g.Name == f.Name }); i >= 0 {
			return nil, fmt.Errorf("%s.name: %s is also the name of %s", field, f.Name, m.Functions[i].Key)
		}
		m.Functions = append(m.Functions, f)
	}
	return m, addTriggers(m, inputs["triggers"])
}

// merge lays a function's own keys over the common ones. It is shallow, as the
// component's is: an environments list replaces the common one and doesn't extend it.
func merge(inputs, own map[string]any) map[string]any {
	merged := map[string]any{}
	for _, key := range functionKeys {
		if v, ok := own[key]; ok {
			merged[key] = v
		} else if v, ok := inputs[key]; ok {
			merged[key] = v
		}
	}
	return merged
}

// functionInputs are the keys of a function that the emulator acts on.
type functionInputs struct {
	Name           string     `json:"name"`
	Namespace      string     `json:"namespace"`
	Type           string     `json:"type"`
	Runtime        string     `json:"runtime"`
	Handler        string     `json:"handler"`
	MemorySize     *int       `json:"memorySize"`
	Timeout        *int       `json:"timeout"`
	InitTimeout    *int       `json:"initTimeout"`
	Environments   []variable `json:"environments"`
	AsyncRunEnable bool       `json:"asyncRunEnable"`
	Image          any        `json:"image"`
	Src            any        `json:"src"`
}

type variable struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func buildFunction(field, key, fallback string, keys map[string]any) (Function, error) {
	var in functionInputs
	if err := remarshal(field, keys, &in); err != nil {
		return Function{}, err
	}
	f := Function{
		Key:         key,
		Name:        orElse(in.Name, fallback),
		Namespace:   orElse(in.Namespace, defaultNamespace),
		Handler:     orElse(in.Handler, defaultHandler),
		MemoryMB:    derefOr(in.MemorySize, defaultMemoryMB),
		Timeout:     time.Duration(derefOr(in.Timeout, defaultTimeout)) * time.Second,
		InitTimeout: time.Duration(derefOr(in.InitTimeout, defaultInitTimeout)) * time.Second,
	}

	refuse := func(name, format string, args ...any) (Function, error) {
		return Function{}, fmt.Errorf("%s.%s: %s", field, name, fmt.Sprintf(format, args...))
	}
	switch {
	case !functionName.MatchString(f.Name):
		return refuse("name", "%q: 2 to 60 letters, digits, - and _, beginning with a letter and not ending with - or _", f.Name)
	case in.Runtime == "":
		return refuse("runtime", "missing, and the component's default is a Node.js one; want %s", supportedRuntime)
	case in.Runtime != supportedRuntime:
		return refuse("runtime", "%q is not emulated, want %s", in.Runtime, supportedRuntime)
	case in.Type != "" && in.Type != "event":
		return refuse("type", "%q is not emulated, want event", in.Type)
	case in.AsyncRunEnable:
		return refuse("asyncRunEnable", "asynchronous execution is not emulated")
	case in.Image != nil:
		return refuse("image", "images are not emulated")
	case !handlerName.MatchString(f.Handler):
		return refuse("handler", "%q: 2 to 60 letters, digits, - and _, beginning and ending with a letter", f.Handler)
	case f.MemoryMB != 64 && (f.MemoryMB < 128 || f.MemoryMB > maxMemoryMB || f.MemoryMB%128 != 0):
		return refuse("memorySize", "%d, want 64 or a multiple of 128 up to %d", f.MemoryMB, maxMemoryMB)
	case f.Timeout < time.Second || f.Timeout > maxTimeout*time.Second:
		return refuse("timeout", "%v, want 1 to %d seconds", f.Timeout, maxTimeout)
	case f.InitTimeout < minInitTimeout*time.Second:
		return refuse("initTimeout", "%v, want at least %d seconds", f.InitTimeout, minInitTimeout)
	}

	var err error
	if f.Environment, err = environment(field+".environments", in.Environments); err != nil {
		return Function{}, err
	}
	return f, nil
}

// environment checks the variables as the platform does. The limit is on all of them
// together, names and values.
func environment(field string, variables []variable) (map[string]string, error) {
	env := map[string]string{}
	size := 0
	for i, v := range variables {
		at := fmt.Sprintf("%s[%d]", field, i)
		if len(v.Key) > maxEnvironmentKey || !environmentName.MatchString(v.Key) {
			return nil, fmt.Errorf("%s.key: %q: 2 to %d letters, digits and _, beginning with a letter", at, v.Key, maxEnvironmentKey)
		}
		for _, prefix := range []string{"SCF_", "QCLOUD_", "TENCENTCLOUD_"} {
			if strings.HasPrefix(v.Key, prefix) {
				return nil, fmt.Errorf("%s.key: %s: the prefix %s is reserved", at, v.Key, prefix)
			}
		}
		switch value := v.Value.(type) {
		case nil:
			env[v.Key] = ""
		case string:
			env[v.Key] = value
		case bool, json.Number:
			env[v.Key] = fmt.Sprint(value)
		default:
			return nil, fmt.Errorf("%s.value: %s is not a string", at, v.Key)
		}
		size += len(v.Key) + len(env[v.Key])
	}
	if size > maxEnvironment {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", field, size, maxEnvironment)
	}
	return env, nil
}

// triggerInputs is one entry of inputs.triggers.
type triggerInputs struct {
	Type       string `json:"type"`
	Function   string `json:"function"`
	Parameters struct {
		Name      string `json:"name"`
		Qualifier string `json:"qualifier"`
		AuthType  string `json:"authType"`
		NetConfig struct {
			EnableIntranet bool `json:"enableIntranet"`
			EnableExtranet bool `json:"enableExtranet"`
		} `json:"netConfig"`
	} `json:"parameters"`
}

func addTriggers(m *Manifest, list any) error {
	if list == nil {
		return nil
	}
	entries, ok := list.([]any)
	if !ok {
		return errors.New("inputs.triggers: not a list")
	}
	for i, entry := range entries {
		field := fmt.Sprintf("inputs.triggers[%d]", i)
		var t triggerInputs
		if err := remarshal(field, entry, &t); err != nil {
			return err
		}
		at := slices.IndexFunc(m.Functions, func(f Function) bool { return f.Key == t.Function })
		if at < 0 {
			return fmt.Errorf("%s.function: Function %s not in deploy list", field, t.Function)
		}
		p := t.Parameters
		switch {
		case t.Type != "http":
			return fmt.Errorf("%s.type: %q is not emulated, want http", field, t.Type)
		case m.Functions[at].URL:
			return fmt.Errorf("%s.function: %s has a URL already", field, t.Function)
		case p.Qualifier == "":
			return fmt.Errorf("%s.parameters.qualifier: missing: without it the next deployment doesn't find the trigger again", field)
		case p.AuthType != "" && p.AuthType != "NONE":
			return fmt.Errorf("%s.parameters.authType: %q is not emulated, want NONE", field, p.AuthType)
		case !p.NetConfig.EnableIntranet && !p.NetConfig.EnableExtranet:
			return fmt.Errorf("%s.parameters.netConfig: neither enableIntranet nor enableExtranet: nobody could reach the URL", field)
		}
		m.Functions[at].URL = true
	}
	return nil
}

// decodeYAML reads a document as plain maps, with numbers as they were written.
func decodeYAML(data []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var top map[string]any
	if err := d.Decode(&top); err != nil {
		return nil, errors.New("the document is not a map")
	}
	return top, nil
}

// remarshal decodes a part of the document into a struct; the error names the field
// that doesn't fit.
func remarshal(field string, part, into any) error {
	raw, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		at := strings.TrimSuffix(field+"."+wrong.Field, ".")
		return fmt.Errorf("%s: a %s, want %s", at, wrong.Value, yamlKind(wrong.Type))
	}
	return err
}

// yamlKind says what stands in the file for a Go type.
func yamlKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "a map"
	default:
		return "a " + t.Kind().String()
	}
}

func checkKeys(prefix string, have map[string]any, known []string) error {
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if key == "environment" {
			return fmt.Errorf("%s%s: the component drops it without a word, use environments", prefix, key)
		}
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s%s: unknown key", prefix, key)
		}
	}
	return nil
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func derefOr(p *int, fallback int) int {
	if p == nil {
		return fallback
	}
	return *p
}
