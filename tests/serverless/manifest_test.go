package serverless

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
	"github.com/clb-direct/clb-direct/shared/event"
)

// all are the functions there are.
var all = append(slices.Clone(event.Functions), event.Resync, event.Explain)

func deployment(t *testing.T) manifest.Deployment {
	t.Helper()
	return manifest.Deployment{Env: exampleEnv(t), Executables: executables(t)}
}

// TestLint: nothing is wrong with the file as it stands, warnings included.
func TestLint(t *testing.T) {
	with := deployment(t)
	for _, f := range manifest.Lint([]byte(read(t, "serverless.yml")), with) {
		t.Errorf("%s", f)
	}
	// A region that the public schema doesn't list yet is worth a warning, no more.
	with.Env["REGION"] = "ap-nanjing"
	found := manifest.Lint([]byte(read(t, "serverless.yml")), with)
	if len(found) != 1 || !found[0].Warning || found[0].Field != "inputs.region" {
		t.Errorf("in a region that isn't listed: %v, want one warning about it", found)
	}
}

// TestLintFindsWhatBreaks: each way to break the file is found, and the key named.
func TestLintFindsWhatBreaks(t *testing.T) {
	cases := map[string]struct {
		reason, old, new string
		field            string
	}{
		"Component":      {"Only multi-scf deploys several functions.", "component: multi-scf", "component: scf", "component"},
		"NoRuntime":      {"The component's default runtime is Node.js.", "  runtime: Go1\n", "", "inputs.functions.frontend.runtime"},
		"Runtime":        {"A runtime there isn't.", "runtime: Go1", "runtime: Go1.x", "inputs.runtime"},
		"Type":           {"A type there isn't.", "type: event", "type: events", "inputs.type"},
		"Misspelt":       {"A key that nobody reads.", "memorySize:", "memorysize:", "inputs.memorysize"},
		"Memory":         {"Memory comes in steps of 128.", "memorySize: 128", "memorySize: 192", "inputs.memorySize"},
		"Timeout":        {"An event has 15 minutes at most.", "timeout: 60", "timeout: 3600", "inputs.functions.resync.timeout"},
		"InitTimeout":    {"A start has 3 seconds at least.", "initTimeout: 10", "initTimeout: 1", "inputs.initTimeout"},
		"OwnSource":      {"Code of a function's own may lose the executable bit.", "    explain:\n", "    explain:\n      src: ./dist/explain\n", "inputs.functions.explain.src"},
		"NoSource":       {"Nothing would be uploaded.", "  src:\n    src: ./dist\n    exclude:\n      - .env\n", "", "inputs.src"},
		"SourceKey":      {"A misspelt key of the source.", "    exclude:\n", "    excludes:\n", "inputs.src.excludes"},
		"Handler":        {"A handler that the package doesn't have.", "      handler: main\n      # by a person", "      handler: explain\n      # by a person", "inputs.functions.explain.handler"},
		"Environment":    {"The component drops the single function's form.", "      timeout: 60\n      environments: *environments", "      timeout: 60\n      environment: {variables: {CLUSTER_ID: x}}", "inputs.functions.resync.environment"},
		"EnvMap":         {"Variables are a list of key and value.", "      timeout: 60\n      environments: *environments", "      timeout: 60\n      environments: {CLUSTER_ID: x}", "inputs.functions.resync.environments"},
		"NoEnv":          {"An update would wipe those that the function has.", "      timeout: 60\n      environments: *environments", "      timeout: 60", "inputs.functions.resync.environments"},
		"EnvReserved":    {"The platform's prefixes are reserved.", "key: NETWORK", "key: TENCENTCLOUD_NETWORK", "inputs.functions.frontend.environments[2].key"},
		"EnvLibrary":     {"The runtime library would read it.", "key: NETWORK", "key: FUNCTION_NAME", "inputs.functions.frontend.environments[2].key"},
		"EnvSize":        {"All together have 4 KB.", "value: ${env:NETWORK}", "value: " + strings.Repeat("x", 4<<10), "inputs.functions.frontend.environments"},
		"EnvUnset":       {"A variable that nobody sets.", "${env:SUBNET_ID}", "${env:SUBNET}", "inputs.vpcConfig.subnetId"},
		"Subnet":         {"A VPC needs its subnet.", "    subnetId: ${env:SUBNET_ID}\n", "", "inputs.vpcConfig.subnetId"},
		"Public":         {"Public access is on by default.", "  publicAccess: false\n", "", "inputs.functions.frontend.publicAccess"},
		"Async":          {"Asynchronous execution takes the reply away.", "  isAutoPublish", "  asyncRunEnable: true\n  isAutoPublish", "inputs.asyncRunEnable"},
		"RetryNum":       {"Without it this does nothing.", "  isAutoPublish", "  retryNum: 2\n  isAutoPublish", "inputs.retryNum"},
		"Description":    {"A description takes no arrows.", "description: Answers why", "description: pod -> why", "inputs.functions.explain.description"},
		"Name":           {"A name has 60 characters.", "app: clb-direct", "app: " + strings.Repeat("a", 40), "inputs.functions.frontend.name"},
		"Trigger":        {"A trigger for a function there isn't.", "    - type: timer\n      function: resync", "    - type: timer\n      function: resynch", "inputs.triggers[3].function"},
		"TriggerType":    {"EventBridge has no type here.", "    - type: timer\n", "    - type: eb\n", "inputs.triggers[3].type"},
		"Gateway":        {"API Gateway is gone.", "    - type: http\n      function: backends", "    - type: apigw\n      function: backends", "inputs.triggers[1].type"},
		"HTTPQualifier":  {"The next deployment wouldn't find the URL.", "        name: url-trigger\n        qualifier: $DEFAULT\n", "        name: url-trigger\n", "inputs.triggers[0].parameters.qualifier"},
		"HTTPNet":        {"Nobody could reach the URL.", "enableIntranet: true", "enableIntranet: false", "inputs.triggers[0].parameters.netConfig"},
		"HTTPNetMissing": {"Nor without any.", "        netConfig:\n          enableIntranet: true\n          enableExtranet: false\n", "", "inputs.triggers[0].parameters.netConfig"},
		"HTTPAuth":       {"There are two kinds.", "authType: NONE", "authType: none", "inputs.triggers[0].parameters.authType"},
		"Cron":           {"Five fields mean something else.", "'*/20 * * * * * *'", "'*/20 * * * *'", "inputs.triggers[3].parameters.cronExpression"},
		"CronRange":      {"There is no second 60.", "'*/20 * * * * * *'", "'0-60/20 * * * * * *'", "inputs.triggers[3].parameters.cronExpression"},
		"Enable":         {"A timer must be enabled in so many words.", "        enable: true\n", "", "inputs.triggers[3].parameters.enable"},
		"EnableKind":     {"With true.", "        enable: true\n", "        enable: 'OPEN'\n", "inputs.triggers[3].parameters.enable"},
		"TimerQualifier": {"The next deployment would make a second one.", "        name: resync\n        qualifier: $DEFAULT\n", "        name: resync\n", "inputs.triggers[3].parameters.qualifier"},
	}
	text, with := read(t, "serverless.yml"), deployment(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(text, tc.old) {
				t.Fatalf("the file has no %q to replace", tc.old)
			}
			found := manifest.Lint([]byte(strings.Replace(text, tc.old, tc.new, 1)), with)
			if !slices.ContainsFunc(found, func(f manifest.Finding) bool { return strings.HasPrefix(f.String(), tc.field+": ") }) {
				t.Errorf("%s\nfound %q, nothing about %s", tc.reason, found, tc.field)
			}
		})
	}
}

// TestDeploysEveryFunction: what the file deploys is what the design asks for.
func TestDeploysEveryFunction(t *testing.T) {
	with := deployment(t)
	m, err := manifest.Parse([]byte(read(t, "serverless.yml")), with)
	if err != nil {
		t.Fatal(err)
	}
	var names, want []string
	for _, f := range m.Functions {
		names = append(names, f.Key)
		if diff := cmp.Diff(m.Functions[0].Environment, f.Environment); diff != "" {
			t.Errorf("%s and %s have not the same environment:\n%s", m.Functions[0].Key, f.Key, diff)
		}
		// The executable tells by the name's last part which function it is.
		if !strings.HasSuffix(f.Name, "-"+f.Key) {
			t.Errorf("%s is called %s, which doesn't end in its key", f.Key, f.Name)
		}
		if fed := slices.Contains(event.Functions, event.Function(f.Key)); fed != f.URL {
			t.Errorf("%s: URL %v; those that the forwarder feeds have one, and no other", f.Key, f.URL)
		}
	}
	for _, f := range all {
		want = append(want, string(f))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("functions -want +got:\n%s", diff)
	}

	resync := m.Functions[slices.IndexFunc(m.Functions, func(f manifest.Function) bool { return f.Key == "resync" })]
	if len(resync.Timers) != 1 || !resync.Timers[0].Enabled {
		t.Fatalf("timers of resync: %+v, want one that is enabled", resync.Timers)
	}
	schedule, err := manifest.ParseSchedule(resync.Timers[0].Cron)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for range 10 {
		next := schedule.Next(at)
		if next.Sub(at) != 20*time.Second {
			t.Errorf("after %v resync comes at %v, want it 20 s later", at, next)
		}
		at = next
	}

	with.Stage = "test"
	test, err := manifest.Parse([]byte(read(t, "serverless.yml")), with)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range test.Functions {
		if f.Name == m.Functions[i].Name {
			t.Errorf("%s is %s in two stages", f.Key, f.Name)
		}
	}
}

// TestCommentedTriggerIsRight: what a person is told to add is as good as the rest.
func TestCommentedTriggerIsRight(t *testing.T) {
	text := read(t, "serverless.yml")
	var example strings.Builder
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "    # "); found && (strings.HasPrefix(rest, "- type: ckafka") || example.Len() > 0 && strings.HasPrefix(rest, "  ")) {
			fmt.Fprintf(&example, "    %s", rest)
		}
	}
	with := deployment(t)
	for _, f := range manifest.Lint([]byte(text+example.String()), with) {
		t.Errorf("%s", f)
	}
	m, err := manifest.Parse([]byte(text+example.String()), with)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Functions {
		if got := len(f.Topics) == 1 && f.Topics[0].Enabled; got != (f.Key == "backends") {
			t.Errorf("%s has the topics %+v", f.Key, f.Topics)
		}
	}
}

// TestEnvExampleIsComplete: who fills in the example can deploy, and fills in nothing
// for nobody.
func TestEnvExampleIsComplete(t *testing.T) {
	used := map[string]bool{}
	for _, ref := range regexp.MustCompile(`\$\{env:(\w+)\}`).FindAllStringSubmatch(read(t, "serverless.yml"), -1) {
		used[ref[1]] = true
	}
	want := slices.Sorted(maps.Keys(used))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(exampleEnv(t)))); diff != "" {
		t.Errorf("variables of serverless.yml and .env.example, -want +got:\n%s", diff)
	}
}

// TestMakeUploadsWhatIsPackaged: the folder that the command line uploads is the one
// that `make package` fills.
func TestMakeUploadsWhatIsPackaged(t *testing.T) {
	src := regexp.MustCompile(`(?m)^    src: \./(\S+)$`).FindStringSubmatch(read(t, "serverless.yml"))
	if src == nil {
		t.Fatal("serverless.yml names no source folder")
	}
	makefile := read(t, "Makefile")
	if want := "./infra/bundle -dir " + src[1] + " "; !strings.Contains(makefile, want) {
		t.Errorf("the Makefile has no %q", want)
	}
	if !strings.Contains(makefile, "deploy: package") {
		t.Error("make deploy doesn't package first")
	}
}
