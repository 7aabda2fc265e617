package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

// minimal is a manifest that nothing is wrong with.
const minimal = `
component: multi-scf
name: demo
app: app
stage: dev
inputs:
  src: ./dist
  runtime: Go1
  environments: [{key: COMMON, value: x}]
  functions:
    f: {}
    g: {}
  triggers:
    - type: http
      function: g
      parameters: {qualifier: $DEFAULT, netConfig: {enableIntranet: true}}
    - type: timer
      function: f
      parameters: {name: t, qualifier: $DEFAULT, cronExpression: '0 * * * * * *', enable: true}
`

// trigger replaces the first trigger.
func trigger(text string) string { return "\n  triggers:\n    - " + text }

func TestLint(t *testing.T) {
	const (
		http  = "\n  triggers:\n    - type: http\n      function: g\n      parameters: {qualifier: $DEFAULT, netConfig: {enableIntranet: true}}"
		timer = "{name: t, qualifier: $DEFAULT, cronExpression: '0 * * * * * *', enable: true}"
	)
	cases := map[string]struct {
		reason   string
		old, new string
		want     string // a finding begins so, warnings after "warning: "
	}{
		"NotYAML":        {"The file must be YAML.", "component: multi-scf", "component: [", "yaml"},
		"TwiceTheSame":   {"A key stands once.", "stage: dev", "stage: dev\nstage: x", `yaml: unmarshal errors`},
		"Component":      {"Only multi-scf deploys several functions.", "multi-scf", "scf", `component: "scf": want multi-scf`},
		"ComponentPin":   {"A version has three parts.", "multi-scf", "multi-scf@latest", `component: "multi-scf@latest": want multi-scf`},
		"NoName":         {"The instance has a name.", "name: demo", "", "name: missing"},
		"NoStage":        {"And a stage.", "stage: dev", "", "stage: missing"},
		"EmptyStage":     {"That isn't empty.", "stage: dev", "stage: ''", "stage: is empty"},
		"UnknownTop":     {"A misspelt key is told.", "stage: dev", "stage: dev\ninput: {}", "input: unknown key"},
		"NoInputs":       {"There is something to deploy.", "inputs:", "org:", "inputs: missing"},
		"NoFunctions":    {"There is something to deploy.", "    f: {}\n    g: {}\n", "", "inputs.functions: is nothing, want a map"},
		"EmptyFunctions": {"There is something to deploy.", "functions:\n    f: {}\n    g: {}\n", "functions: {}\n", "inputs.functions: is empty"},
		"FunctionKey":    {"A misspelt key of a function too.", "f: {}", "f: {memroySize: 128}", "inputs.functions.f.memroySize: unknown key"},
		"CommonKey":      {"And one for all of them.", "runtime: Go1", "runtime: Go1\n  timeOut: 3", "inputs.timeOut: unknown key"},
		"FunctionScalar": {"A function is a map.", "f: {}", "f: main", "inputs.functions.f: is a string, want a map"},
		"Environment":    {"The component drops this one.", "f: {}", "f: {environment: {variables: {A: b}}}", "inputs.functions.f.environment: the component drops it"},
		"EnvUnset":       {"A variable that isn't set is named, with its place.", "f: {}", "f: {role: '${env:ROLE}'}", "inputs.functions.f.role: ${env:ROLE} is not set"},
		"EnvInStage":     {"Also at the top.", "stage: dev", "stage: ${env:STAGE}", "stage: ${env:STAGE} is not set"},
		"OtherVariable":  {"Other kinds of variables are not known.", "f: {}", "f: {role: '${self:custom.x}'}", "inputs.functions.f.role: ${self:custom.x} is not set"},
		"NameTooLong":    {"A function's name has at most 60 characters.", "name: demo", "name: " + strings.Repeat("d", 51), "inputs.functions.f.name:"},
		"NameStart":      {"And begins with a letter.", "f: {}", "f: {name: 1f}", "inputs.functions.f.name:"},
		"SameName":       {"No two functions have one name.", "f: {}", "f: {name: demo-dev-app-g}", "inputs.functions.g.name: demo-dev-app-g is also the name of f"},
		"NoRuntime":      {"The default runtime is not Go's.", "runtime: Go1", "timeout: 3", "inputs.functions.f.runtime: missing"},
		"OtherRuntime":   {"There is a list of runtimes.", "Go1", "go1", `inputs.runtime: "go1", want one of`},
		"Type":           {"There are two types.", "f: {}", "f: {type: http}", `inputs.functions.f.type: "http", want one of event, web`},
		"Async":          {"Asynchronous execution can't be taken back.", "f: {}", "f: {asyncRunEnable: true}", "inputs.functions.f.asyncRunEnable: it can be set at creation only"},
		"Retries":        {"Without it this has no effect.", "f: {}", "f: {retryNum: 2}", "warning: inputs.functions.f.retryNum: has no effect"},
		"EventAge":       {"Nor has this.", "f: {}", "f: {msgTTL: 60}", "warning: inputs.functions.f.msgTTL: has no effect"},
		"Handler":        {"A handler ends with a letter.", "f: {}", "f: {handler: main2}", "inputs.functions.f.handler:"},
		"NoSuchHandler":  {"It is in the package.", "f: {}", "f: {handler: other}", "inputs.functions.f.handler: other is no executable"},
		"OwnSource":      {"Code of its own may lose the executable bit.", "f: {}", "f: {src: ./dist}", "inputs.functions.f.src: one of a function's own is packed anew"},
		"NoSource":       {"Something is uploaded.", "  src: ./dist\n", "", "warning: inputs.src: missing"},
		"Description":    {"A description is plain text.", "f: {}", "f: {description: a -> b}", `inputs.functions.f.description: "a -> b"`},
		"DescriptionMax": {"And not a novel.", "f: {}", "f: {description: " + strings.Repeat("x", 1001) + "}", "inputs.functions.f.description: has 1001 bytes"},
		"Region":         {"The public list of regions is behind.", "runtime: Go1", "runtime: Go1\n  region: ap-nanjing", `warning: inputs.region: "ap-nanjing" is not in the public list`},
		"Memory":         {"Memory comes in steps.", "f: {}", "f: {memorySize: 200}", "inputs.functions.f.memorySize: is 200"},
		"MemoryMax":      {"Up to 3072 MB.", "f: {}", "f: {memorySize: 3200}", "inputs.functions.f.memorySize: is 3200"},
		"MemoryKind":     {"It is a number.", "f: {}", "f: {memorySize: lots}", "inputs.functions.f.memorySize: is a string, want a whole number"},
		"TimeoutZero":    {"A timeout is at least a second.", "f: {}", "f: {timeout: 0}", "inputs.functions.f.timeout: is 0"},
		"TimeoutMax":     {"At most 900.", "f: {}", "f: {timeout: 901}", "inputs.functions.f.timeout: is 901, want 1 to 900"},
		"TimeoutPart":    {"Whole ones.", "f: {}", "f: {timeout: 1.5}", "inputs.functions.f.timeout: is a fraction, want a whole number"},
		"InitTimeout":    {"An init timeout is at least 3 seconds.", "f: {}", "f: {initTimeout: 2}", "inputs.functions.f.initTimeout: is 2, want at least 3"},
		"Flag":           {"A switch is true or false.", "f: {}", "f: {publicAccess: 'no'}", "inputs.functions.f.publicAccess: is a string, want true or false"},
		"Public":         {"In a VPC public access is on by default.", "f: {}", "f: {vpcConfig: {vpcId: a, subnetId: b}}", "warning: inputs.functions.f.publicAccess: missing"},
		"Subnet":         {"A VPC has a subnet.", "f: {}", "f: {publicAccess: false, vpcConfig: {vpcId: a}}", "inputs.functions.f.vpcConfig.subnetId: missing"},
		"Layers":         {"Lists of maps are looked into.", "f: {}", "f: {layers: [{name: a}]}", "inputs.functions.f.layers[0].version: missing"},
		"LayerScalar":    {"And are of maps.", "f: {}", "f: {layers: [a]}", "inputs.functions.f.layers[0]: is a string, want a map"},
		"NoEnv":          {"An update without any wipes them.", "environments: [{key: COMMON, value: x}]", "timeout: 3", "warning: inputs.functions.f.environments: missing"},
		"EnvReplaced":    {"An own list replaces the common one.", "f: {}", "f: {environments: [{key: OWN, value: x}]}", "warning: inputs.functions.f.environments: replaces the common list, in which COMMON is"},
		"EnvReserved":    {"The platform's prefixes are reserved.", "{key: COMMON", "{key: SCF_A, value: x}, {key: COMMON", "inputs.environments[0].key: SCF_A: the prefix SCF_ is reserved"},
		"EnvReservedTC":  {"All three.", "{key: COMMON", "{key: TENCENTCLOUD_A}, {key: COMMON", "inputs.environments[0].key: TENCENTCLOUD_A: the prefix"},
		"EnvReservedQC":  {"All three.", "{key: COMMON", "{key: QCLOUD_A}, {key: COMMON", "inputs.environments[0].key: QCLOUD_A: the prefix"},
		"EnvLibrary":     {"The runtime library reads these.", "{key: COMMON", "{key: FUNCTION_NAME}, {key: COMMON", "inputs.environments[0].key: FUNCTION_NAME is read by the runtime library"},
		"EnvTwice":       {"One value per name.", "{key: COMMON", "{key: COMMON}, {key: COMMON", "inputs.environments[1].key: COMMON is there twice"},
		"EnvName":        {"Names have a form.", "{key: COMMON", "{key: 1A}, {key: COMMON", "inputs.environments[0].key:"},
		"EnvValue":       {"Values are scalars.", "{key: COMMON", "{key: AB, value: [x]}, {key: COMMON", "inputs.environments[0].value: is a list, want a string or number"},
		"EnvTooLarge":    {"All together have at most 4 KB.", "value: x", "value: " + strings.Repeat("x", 4091), "inputs.environments: 4097 bytes"},
		"EnvMap":         {"It is a list.", "f: {}", "f: {environments: {A: b}}", "inputs.functions.f.environments: is a map, want a list"},
		"TriggerList":    {"Triggers are a list.", "triggers:", "triggers: {}\n  cfs:", "inputs.triggers: is a map, want a list"},
		"TriggerScalar":  {"An entry is a map.", http, trigger("http"), "inputs.triggers[0]: is a string, want a map"},
		"TriggerUnknown": {"A trigger is for a function of the file.", "function: g", "function: x", "inputs.triggers[0].function: Function x not in deploy list"},
		"TriggerType":    {"There are so many types.", "type: http", "type: url", `inputs.triggers[0].type: "url", want one of apigw, ckafka`},
		"TriggerBridge":  {"EventBridge is none of them.", "type: http", "type: eb", `inputs.triggers[0].type: "eb": the component knows no EventBridge`},
		"TriggerGateway": {"API Gateway is gone.", "type: http", "type: apigw", `inputs.triggers[0].type: API Gateway is offline`},
		"TriggerKey":     {"A misspelt key.", "function: g", "function: g\n      params: {}", `inputs.triggers[0].params: unknown key`},
		"Parameters":     {"A trigger has parameters.", timer, "[]", `inputs.triggers[1].parameters: is a list, want a map`},
		"HTTPQualifier":  {"A URL names its qualifier.", "qualifier: $DEFAULT, netConfig", "netConfig", "inputs.triggers[0].parameters.qualifier: missing: without it"},
		"HTTPNet":        {"And a network.", ", netConfig: {enableIntranet: true}", "", "inputs.triggers[0].parameters.netConfig: missing: both ways in are off"},
		"HTTPNetOff":     {"That is on.", "enableIntranet: true", "enableIntranet: false", "inputs.triggers[0].parameters.netConfig: neither"},
		"HTTPAuth":       {"There are two ways to ask who it is.", "qualifier: $DEFAULT, netConfig", "authType: TOKEN, qualifier: $DEFAULT, netConfig", `inputs.triggers[0].parameters.authType: "TOKEN", want one of NONE, CAM`},
		"HTTPTwice":      {"One URL for a version.", http, strings.Replace(http, "- type", "- &u\n      type", 1) + "\n    - *u", "inputs.triggers[1].parameters: is the same trigger as inputs.triggers[0]"},
		"TimerName":      {"A timer's name has a form.", "name: t", "name: 1t", "inputs.triggers[1].parameters.name:"},
		"TimerEnable":    {"It is enabled in so many words.", ", enable: true}", "}", "inputs.triggers[1].parameters.enable: missing"},
		"TimerQualifier": {"It names its qualifier.", "name: t, qualifier: $DEFAULT, ", "name: t, ", "inputs.triggers[1].parameters.qualifier: missing"},
		"TimerFields":    {"A cron expression has seven fields.", "'0 * * * * * *'", "'* * * * *'", `inputs.triggers[1].parameters.cronExpression: "* * * * *" has 5 fields, want 7`},
		"TimerRange":     {"Their values have a range.", "'0 * * * * * *'", "'60 * * * * * *'", "inputs.triggers[1].parameters.cronExpression:"},
		"TimerArgument":  {"An argument has at most 4 KB.", "name: t,", "name: t, argument: " + strings.Repeat("x", 4097) + ",", "inputs.triggers[1].parameters.argument: has 4097 bytes"},
		"TimerKey":       {"A misspelt parameter.", "cronExpression", "cron", "inputs.triggers[1].parameters.cron: unknown key"},
		"CKafkaTopic":    {"A consumer has a topic.", http, trigger("{type: ckafka, function: f, parameters: {name: c, qualifier: q}}"), "inputs.triggers[0].parameters.topic: missing"},
		"CKafkaMax":      {"Batches have at most 1,000 messages.", http, trigger("{type: ckafka, function: f, parameters: {name: c, topic: t, qualifier: q, maxMsgNum: 1001}}"), "inputs.triggers[0].parameters.maxMsgNum: is 1001, want 1 to 1000"},
		"CKafkaOffset":   {"It begins somewhere.", http, trigger("{type: ckafka, function: f, parameters: {name: c, topic: t, qualifier: q, offset: first}}"), `inputs.triggers[0].parameters.offset: "first": want latest`},
		"CKafkaTimeout":  {"It waits a minute at most.", http, trigger("{type: ckafka, function: f, parameters: {name: c, topic: t, qualifier: q, timeout: 61}}"), "inputs.triggers[0].parameters.timeout: is 61, want 1 to 60"},
	}
	if found := manifest.Lint([]byte(minimal), manifest.Deployment{Executables: []string{"main"}}); len(found) > 0 {
		t.Fatalf("the manifest that the cases change: %v", found)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(minimal, tc.old) {
				t.Fatalf("the manifest has no %q to replace", tc.old)
			}
			found := manifest.Lint([]byte(strings.Replace(minimal, tc.old, tc.new, 1)), manifest.Deployment{Executables: []string{"main"}})
			if !told(found, tc.want) {
				t.Errorf("%s\ngot %q, want %s", tc.reason, found, tc.want)
			}
		})
	}
}

func told(found []manifest.Finding, want string) bool {
	for _, f := range found {
		text := f.String()
		if f.Warning {
			text = "warning: " + text
		}
		if strings.HasPrefix(text, want) || f.Field == "" && strings.Contains(text, want) {
			return true
		}
	}
	return false
}

func TestLintCounts(t *testing.T) {
	var functions, timers strings.Builder
	for i := range 49 {
		fmt.Fprintf(&functions, "    f%d: {}\n", i)
	}
	for i := range 10 {
		fmt.Fprintf(&timers, "    - {type: timer, function: f, parameters: {name: t%d, qualifier: q, cronExpression: '0 * * * * * *', enable: true}}\n", i)
	}
	text := strings.Replace(minimal, "    f: {}\n", "    f: {}\n"+functions.String(), 1) + timers.String()
	found := manifest.Lint([]byte(text), manifest.Deployment{})
	for _, want := range []string{"inputs.functions: has 51, at most 50", "inputs.triggers[11].type: f has more than 10 of type timer"} {
		if !told(found, want) {
			t.Errorf("got %q, want %s", found, want)
		}
	}
}

// TestParseRefuses: what the lint finds, and what is well-formed but not run here.
func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		reason   string
		old, new string
		want     string
	}{
		"Finding": {"Every error is told, not the first alone.", "f: {}", "f: {timeout: 0, memorySize: 1}", "inputs.functions.f.timeout: is 0, want 1 to 900\ninputs.functions.f.memorySize: is 1, want 64"},
		"Runtime": {"Only Go1 is run here.", "Go1", "Python3.6", `inputs.functions.f.runtime: "Python3.6" is not emulated`},
		"Web":     {"Nor web functions.", "f: {}", "f: {type: web}", `inputs.functions.f.type: "web" is not emulated`},
		"Image":   {"Nor images.", "f: {}", "f: {image: {imageUrl: x}}", "inputs.functions.f.image: images are not emulated"},
		"Trigger": {"Nor other triggers.", "type: http", "type: cls", "inputs.triggers[0].parameters.netConfig: unknown key"},
		"COS":     {"Nor other triggers.", "- type: http", "- {type: cos, function: g, parameters: {bucket: b, events: e}}\n    - type: http", `inputs.triggers[0].type: "cos" is not emulated`},
	}
	if _, err := manifest.Parse([]byte(minimal), manifest.Deployment{}); err != nil {
		t.Fatalf("the manifest that the cases change: %v", err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(strings.Replace(minimal, tc.old, tc.new, 1)), manifest.Deployment{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
}

func FuzzLint(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("component: multi-scf\ninputs: {functions: {f: 1}, triggers: [{type: timer, parameters: {cronExpression: '* * * * * * 2000/3'}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		clean := true
		for _, found := range manifest.Lint(data, manifest.Deployment{}) {
			clean = clean && found.Warning
		}
		// What it passes, the emulator can build or says that it doesn't run.
		m, err := manifest.Parse(data, manifest.Deployment{})
		if clean == (err != nil && !strings.Contains(err.Error(), "not emulated")) {
			t.Errorf("no error found: %v; parsed to %v, %v", clean, m, err)
		}
	})
}
