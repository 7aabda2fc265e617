package scf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestParseManifest(t *testing.T) {
	const text = `
component: multi-scf@0.3.14
name: demo
app: ${env:APP}
stage: dev
inputs:
  runtime: Go1
  region: ap-${env:APP}
  memorySize: 256
  timeout: 30
  description: ${name} in ${stage}
  environments: [{key: COMMON, value: "yes"}]
  functions:
    b:
      handler: worker
      name: ${app}-worker
      memorySize: 64
      initTimeout: 5
      environments: &own
        - {key: NAME, value: "${app}/${stage}/${env:EMPTY}"}
        - {key: NUMBER, value: 1.50}
        - {key: SWITCH, value: true}
        - {key: NOTHING}
    a: {}
    c:
      environments: *own
  triggers:
    - type: http
      function: a
      parameters: {qualifier: $DEFAULT, authType: NONE, netConfig: {enableExtranet: true}}
`
	env := map[string]string{"APP": "app", "EMPTY": ""}
	own := map[string]string{"NAME": "app/prod/", "NUMBER": "1.5", "SWITCH": "true", "NOTHING": ""}
	base := scf.Function{
		Namespace: "default", Handler: "main", MemoryMB: 256, Timeout: 30 * time.Second, InitTimeout: 65 * time.Second,
		Environment: map[string]string{"COMMON": "yes"},
	}
	a, b, c := base, base, base
	a.Key, a.Name, a.URL = "a", "demo-prod-app-a", true
	b.Key, b.Name, b.Handler, b.MemoryMB, b.InitTimeout, b.Environment = "b", "app-worker", "worker", 64, 5*time.Second, own
	c.Key, c.Name, c.Environment = "c", "demo-prod-app-c", own

	got, err := scf.ParseManifest([]byte(text), env, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&scf.Manifest{Region: "ap-app", Functions: []scf.Function{a, b, c}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseManifestErrors(t *testing.T) {
	const valid = `
component: multi-scf
name: demo
app: app
stage: dev
inputs:
  runtime: Go1
  functions:
    f: {}
    g: {}
`
	if _, err := scf.ParseManifest([]byte(valid), nil, ""); err != nil {
		t.Fatalf("the manifest that the cases change: %v", err)
	}
	cases := map[string]struct {
		reason   string
		old, new string
		want     string
	}{
		"NotYAML":        {"The file must be YAML.", "component: multi-scf", "component: [", "yaml"},
		"TwiceTheSame":   {"A key stands once.", "stage: dev", "stage: dev\nstage: x", `"stage" already set`},
		"Component":      {"Only multi-scf deploys several functions.", "multi-scf", "scf", `component: "scf", want multi-scf`},
		"NoName":         {"The instance has a name.", "name: demo", "", "name: missing"},
		"NoStage":        {"And a stage.", "stage: dev", "", "stage: missing"},
		"UnknownTop":     {"A misspelt key is told.", "stage: dev", "stage: dev\ninput: {}", "input: unknown key"},
		"NoFunctions":    {"There is something to deploy.", "    f: {}\n    g: {}\n", "", "inputs.functions: missing"},
		"FunctionKey":    {"A misspelt key of a function too.", "f: {}", "f: {memroySize: 128}", "inputs.functions.f.memroySize: unknown key"},
		"Environment":    {"The component drops this one.", "f: {}", "f: {environment: {variables: {A: b}}}", "inputs.functions.f.environment: the component drops it"},
		"EnvUnset":       {"A variable that isn't set is named, with its place.", "f: {}", "f: {role: '${env:ROLE}'}", "inputs.functions.f.role: ${env:ROLE} is not set"},
		"EnvInStage":     {"Also at the top.", "stage: dev", "stage: ${env:STAGE}", "stage: ${env:STAGE} is not set"},
		"OtherVariable":  {"Other kinds of variables are not known.", "f: {}", "f: {role: '${output:x}'}", "${output:x} is not set"},
		"NameTooLong":    {"A function's name has at most 60 characters.", "name: demo", "name: " + strings.Repeat("d", 51), "inputs.functions.f.name:"},
		"NameStart":      {"And begins with a letter.", "f: {}", "f: {name: 1f}", "inputs.functions.f.name:"},
		"SameName":       {"No two functions have one name.", "f: {}", "f: {name: demo-dev-app-g}", "inputs.functions.g.name: demo-dev-app-g is also the name of f"},
		"NoRuntime":      {"The default runtime is not Go's.", "runtime: Go1", "timeout: 3", "inputs.functions.f.runtime: missing"},
		"OtherRuntime":   {"Only Go1 is run here.", "Go1", "Python3.6", `inputs.functions.f.runtime: "Python3.6" is not emulated`},
		"WebFunction":    {"Nor web functions.", "f: {}", "f: {type: web}", `inputs.functions.f.type: "web" is not emulated`},
		"Async":          {"Nor asynchronous execution.", "f: {}", "f: {asyncRunEnable: true}", "inputs.functions.f.asyncRunEnable:"},
		"Handler":        {"A handler ends with a letter.", "f: {}", "f: {handler: main2}", "inputs.functions.f.handler:"},
		"Memory":         {"Memory comes in steps.", "f: {}", "f: {memorySize: 200}", "inputs.functions.f.memorySize: 200"},
		"MemoryMax":      {"Up to 3072 MB.", "f: {}", "f: {memorySize: 3200}", "inputs.functions.f.memorySize: 3200"},
		"MemoryKind":     {"It is a number.", "f: {}", "f: {memorySize: lots}", "inputs.functions.f.memorySize: a string, want a whole number"},
		"TimeoutZero":    {"A timeout is at least a second.", "f: {}", "f: {timeout: 0}", "inputs.functions.f.timeout: 0s"},
		"TimeoutMax":     {"At most 900.", "f: {}", "f: {timeout: 901}", "inputs.functions.f.timeout: 15m1s"},
		"InitTimeout":    {"An init timeout is at least 3 seconds.", "f: {}", "f: {initTimeout: 2}", "inputs.functions.f.initTimeout: 2s"},
		"EnvReserved":    {"The platform's prefixes are reserved.", "f: {}", "f: {environments: [{key: A1, value: x}, {key: SCF_A, value: x}]}", "inputs.functions.f.environments[1].key: SCF_A: the prefix SCF_ is reserved"},
		"EnvReservedTC":  {"All three.", "f: {}", "f: {environments: [{key: TENCENTCLOUD_A, value: x}]}", "the prefix TENCENTCLOUD_ is reserved"},
		"EnvReservedQC":  {"All three.", "f: {}", "f: {environments: [{key: QCLOUD_A, value: x}]}", "the prefix QCLOUD_ is reserved"},
		"EnvName":        {"Names have a form.", "f: {}", "f: {environments: [{key: 1A, value: x}]}", "inputs.functions.f.environments[0].key:"},
		"EnvValue":       {"Values are scalars.", "f: {}", "f: {environments: [{key: AB, value: [x]}]}", "inputs.functions.f.environments[0].value: AB is not a string"},
		"EnvTooLarge":    {"All together have at most 4 KB.", "f: {}", "f: {environments: [{key: AB, value: " + strings.Repeat("x", 4095) + "}]}", "inputs.functions.f.environments: 4097 bytes"},
		"EnvMap":         {"It is a list.", "f: {}", "f: {environments: {A: b}}", "inputs.functions.f.environments: a object, want a list"},
		"TriggerUnknown": {"A trigger is for a function of the file.", "functions:", "triggers: [{type: http, function: x}]\n  functions:", "inputs.triggers[0].function: Function x not in deploy list"},
		"TriggerType":    {"Only http triggers are run here.", "functions:", "triggers: [{type: cos, function: f}]\n  functions:", `inputs.triggers[0].type: "cos" is not emulated`},
		"TriggerQual":    {"A URL names its qualifier.", "functions:", "triggers: [{type: http, function: f}]\n  functions:", "inputs.triggers[0].parameters.qualifier: missing"},
		"TriggerNet":     {"And a network.", "functions:", "triggers: [{type: http, function: f, parameters: {qualifier: q}}]\n  functions:", "inputs.triggers[0].parameters.netConfig:"},
		"TriggerAuth":    {"CAM is not emulated.", "functions:", "triggers: [{type: http, function: f, parameters: {qualifier: q, authType: CAM}}]\n  functions:", `inputs.triggers[0].parameters.authType: "CAM" is not emulated`},
		"TriggerScalar":  {"An entry is a map.", "functions:", "triggers: [http]\n  functions:", "inputs.triggers[0]: a string, want a map"},
		"TriggerTwice": {
			"One URL a function.", "functions:",
			"triggers: [&u {type: http, function: f, parameters: {qualifier: q, netConfig: {enableIntranet: true}}}, *u]\n  functions:",
			"inputs.triggers[1].function: f has a URL already",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(valid, tc.old) {
				t.Fatalf("the manifest has no %q to replace", tc.old)
			}
			_, err := scf.ParseManifest([]byte(strings.Replace(valid, tc.old, tc.new, 1)), nil, "")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
}

// TestProjectManifest keeps what this project deploys within what the platform takes.
func TestProjectManifest(t *testing.T) {
	env := map[string]string{}
	for _, name := range []string{
		"STAGE", "REGION", "FUNCTION_ROLE_NAME", "VPC_ID", "SUBNET_ID", "CLUSTER_ID", "CLAIM", "NETWORK",
		"KUBE_SERVER", "KUBE_CA", "KUBE_TOKEN", "CLB_ENDPOINT", "EVENT_SECRET",
	} {
		env[name] = "test"
	}
	m, err := scf.ReadManifest("../../serverless.yml", env, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Functions {
		if !f.URL || f.Environment["CLUSTER_ID"] != "test" {
			t.Errorf("%s: URL %v, environment %v; want a URL and the common variables", f.Key, f.URL, f.Environment)
		}
	}
	if len(m.Functions) < 3 {
		t.Errorf("%d functions, want frontend, backends and readiness at least", len(m.Functions))
	}
}
