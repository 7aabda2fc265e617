package manifest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

func TestParse(t *testing.T) {
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
    - type: http
      function: b
      parameters: {qualifier: $DEFAULT, enable: false, netConfig: {enableExtranet: true}}
    - type: timer
      function: c
      parameters: {name: often, qualifier: $DEFAULT, cronExpression: '*/20 * * * * * *', enable: true, argument: "now"}
    - type: timer
      function: c
      parameters: {name: never, qualifier: $DEFAULT, cronExpression: '0 0 0 * * * *', enable: false}
    - type: ckafka
      function: c
      parameters: {name: ckafka-1, topic: t, qualifier: $DEFAULT, maxMsgNum: 7, retry: 0, offset: latest}
    - type: ckafka
      function: c
      parameters: {name: ckafka-1, topic: u, qualifier: $DEFAULT, enable: false}
`
	env := map[string]string{"APP": "app", "EMPTY": ""}
	own := map[string]string{"NAME": "app/prod/", "NUMBER": "1.5", "SWITCH": "true", "NOTHING": ""}
	base := manifest.Function{
		Namespace: "default", Handler: "main", MemoryMB: 256, Timeout: 30 * time.Second, InitTimeout: 65 * time.Second,
		Environment: map[string]string{"COMMON": "yes"},
	}
	a, b, c := base, base, base
	a.Key, a.Name, a.URL = "a", "demo-prod-app-a", true
	b.Key, b.Name, b.Handler, b.MemoryMB, b.InitTimeout, b.Environment = "b", "app-worker", "worker", 64, 5*time.Second, own
	c.Key, c.Name, c.Environment = "c", "demo-prod-app-c", own
	c.Timers = []manifest.Timer{{Name: "often", Cron: "*/20 * * * * * *", Argument: "now", Enabled: true}, {Name: "never", Cron: "0 0 0 * * * *"}}
	c.Topics = []manifest.Topic{{Instance: "ckafka-1", Name: "t", MaxMessages: 7, Offset: "latest", Enabled: true}, {Instance: "ckafka-1", Name: "u", MaxMessages: 100, Retries: 10000, Offset: "latest"}}

	got, err := manifest.Parse([]byte(text), manifest.Deployment{Env: env, Stage: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&manifest.Manifest{Region: "ap-app", Functions: []manifest.Function{a, b, c}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
