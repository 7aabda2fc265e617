package clb

import (
	"testing"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestHealthOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		detail *string
		want   model.Health
	}{
		"Alive":   {reason: "documented", detail: ptr("Alive"), want: model.Alive},
		"Dead":    {reason: "documented", detail: ptr("Dead"), want: model.Dead},
		"Close":   {reason: "documented", detail: ptr("Close"), want: model.Close},
		"Unknown": {reason: "documented", detail: ptr("Unknown"), want: model.Unknown},
		"Missing": {reason: "missing data is never healthy", want: model.Unknown},
		"Case":    {reason: "nor is another word", detail: ptr("ALIVE"), want: model.Unknown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			yes := true // the old boolean must not be believed
			if got := healthOf(&sdk.TargetHealth{HealthStatus: &yes, HealthStatusDetail: tc.detail}); got != tc.want {
				t.Errorf("%s: want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}

func TestSameCall(t *testing.T) {
	five, alsoFive, ten, on, alsoOn, off := 5, 5, 10, true, true, false
	tcp := model.WantedListener{Name: "a", Protocol: model.TCP, Port: 80, Settings: model.Settings{Interval: &five}, KeepAlive: &on}
	http := model.WantedListener{Name: "a", Protocol: model.HTTP, Port: 80, Settings: model.Settings{Interval: &five}, KeepAlive: &on, Owner: &model.Front{UID: "a"}, Key: "a"}
	cases := map[string]struct {
		reason string
		a, b   model.WantedListener
		want   bool
	}{
		"Same":         {reason: "other name and port, equal settings", a: tcp, b: model.WantedListener{Name: "b", Protocol: model.TCP, Port: 81, Settings: model.Settings{Interval: &alsoFive}}, want: true},
		"Protocol":     {reason: "one call has one protocol", a: tcp, b: model.WantedListener{Protocol: model.UDP, Settings: tcp.Settings}},
		"Settings":     {reason: "and one set of settings", a: tcp, b: model.WantedListener{Protocol: model.TCP, Settings: model.Settings{Interval: &ten}}},
		"Unset":        {reason: "unset is not the default", a: tcp, b: model.WantedListener{Protocol: model.TCP}},
		"Layer7":       {reason: "settings are the rules' there, and owners don't matter", a: http, b: model.WantedListener{Name: "b", Protocol: model.HTTP, KeepAlive: &alsoOn, Owner: &model.Front{UID: "b"}}, want: true},
		"TLS":          {reason: "HTTPS is another protocol", a: http, b: model.WantedListener{Protocol: model.HTTPS, KeepAlive: &on}},
		"KeepAlive":    {reason: "connections are kept or not", a: http, b: model.WantedListener{Protocol: model.HTTP, KeepAlive: &off}},
		"KeepAliveAny": {reason: "or left as they are", a: http, b: model.WantedListener{Protocol: model.HTTP}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := SameCall(tc.a, tc.b); got != tc.want || SameCall(tc.b, tc.a) != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}
