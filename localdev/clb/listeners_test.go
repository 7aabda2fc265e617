package clb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

func i64(n int64) *int64   { return &n }
func str(s string) *string { return &s }
func flag(b bool) *bool    { return &b }
func many64(n int) []*int64 {
	var all []*int64
	for i := range n {
		all = append(all, i64(int64(1000+i)))
	}
	return all
}

func TestCreateListenerRefuses(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	r.listener(lb, "TCP", 8080)
	health := func(h api.HealthCheck) func(*api.CreateListenerRequest) {
		return func(q *api.CreateListenerRequest) { q.HealthCheck = &h }
	}
	cases := map[string]struct {
		reason string
		set    func(*api.CreateListenerRequest)
		want   string
	}{
		"NoLoadBalancer":  {"required", func(q *api.CreateListenerRequest) { q.LoadBalancerId = nil }, "MissingParameter"},
		"NoPorts":         {"required", func(q *api.CreateListenerRequest) { q.Ports = nil }, "MissingParameter"},
		"NoProtocol":      {"required", func(q *api.CreateListenerRequest) { q.Protocol = nil }, "MissingParameter"},
		"UnknownLB":       {"it must exist", func(q *api.CreateListenerRequest) { q.LoadBalancerId = str("lb-none") }, "InvalidParameter.LBIdNotFound"},
		"UnknownProtocol": {"protocols are upper case", func(q *api.CreateListenerRequest) { q.Protocol = str("tcp") }, "InvalidParameterValue"},
		"QUIC":            {"what isn't emulated says so", func(q *api.CreateListenerRequest) { q.Protocol = str("QUIC") }, "UnsupportedOperation"},
		"FiftyPorts":      {"the API refuses 50", func(q *api.CreateListenerRequest) { q.Ports = many64(50) }, "InvalidParameterValue.Length"},
		"OverQuota":       {"49 and one there already are 50; one more is over the quota", func(q *api.CreateListenerRequest) { q.Ports = many64(49); r.listener(lb, "UDP", 8081) }, "LimitExceeded"},
		"PortZero":        {"ports begin at 1", func(q *api.CreateListenerRequest) { q.Ports = []*int64{i64(0)} }, "InvalidParameterValue"},
		"PortTooBig":      {"ports end at 65535", func(q *api.CreateListenerRequest) { q.Ports = []*int64{i64(65536)} }, "InvalidParameterValue"},
		"PortTaken":       {"port and protocol are unique", func(q *api.CreateListenerRequest) { q.Ports = []*int64{i64(8080)} }, "InvalidParameter.PortCheckFailed"},
		"PortTwice":       {"within the request too", func(q *api.CreateListenerRequest) { q.Ports = []*int64{i64(9000), i64(9000)} }, "InvalidParameter.PortCheckFailed"},
		"NamesAndPorts":   {"names go with ports", func(q *api.CreateListenerRequest) { q.ListenerNames = common.StringPtrs([]string{"a", "b"}) }, "InvalidParameterValue.Length"},
		"LongName": {"80 characters", func(q *api.CreateListenerRequest) {
			q.ListenerNames = common.StringPtrs([]string{strings.Repeat("x", 81)})
		}, "InvalidParameterValue.Length"},
		"SessionTooShort":  {"0 or 30 to 3600", func(q *api.CreateListenerRequest) { q.SessionExpireTime = i64(29) }, "InvalidParameterValue"},
		"SessionTooLong":   {"0 or 30 to 3600", func(q *api.CreateListenerRequest) { q.SessionExpireTime = i64(3601) }, "InvalidParameterValue"},
		"SessionLeastConn": {"sessions need WRR", func(q *api.CreateListenerRequest) { q.SessionExpireTime, q.Scheduler = i64(30), str("LEAST_CONN") }, "InvalidParameterValue"},
		"Scheduler":        {"IP_HASH comes by modifying only", func(q *api.CreateListenerRequest) { q.Scheduler = str("IP_HASH") }, "InvalidParameterValue"},
		"Idle":             {"10 to 1980", func(q *api.CreateListenerRequest) { q.IdleConnectTimeout = i64(9) }, "InvalidParameterValue"},
		"TimeOut":          {"2 to 60", health(api.HealthCheck{TimeOut: i64(1)}), "InvalidParameterValue"},
		"Interval":         {"2 to 300", health(api.HealthCheck{IntervalTime: i64(301)}), "InvalidParameterValue"},
		"TimeOutInterval":  {"the timeout is less than the interval", health(api.HealthCheck{IntervalTime: i64(4), TimeOut: i64(4)}), "InvalidParameterValue"},
		"TimeOutDefault":   {"defaults included", health(api.HealthCheck{TimeOut: i64(5)}), "InvalidParameterValue"},
		"HealthNum":        {"2 to 10", health(api.HealthCheck{HealthNum: i64(1)}), "InvalidParameterValue"},
		"UnHealthNum":      {"2 to 10", health(api.HealthCheck{UnHealthNum: i64(11)}), "InvalidParameterValue"},
		"HttpCode":         {"1 to 31", health(api.HealthCheck{HttpCode: i64(32)}), "InvalidParameterValue"},
		"CheckType":        {"PING is UDP's", health(api.HealthCheck{CheckType: str("PING")}), "InvalidParameterValue"},
		"HTTPNoDomain":     {"an HTTP check of a TCP listener needs its domain", health(api.HealthCheck{CheckType: str("HTTP"), HttpVersion: str("HTTP/1.1")}), "MissingParameter"},
		"HTTPNoVersion":    {"and its version", health(api.HealthCheck{CheckType: str("HTTP"), HttpCheckDomain: str("a.example")}), "MissingParameter"},
		"CustomNoContext":  {"a custom check needs what to send and expect", health(api.HealthCheck{CheckType: str("CUSTOM"), ContextType: str("TEXT"), SendContext: str("x")}), "MissingParameter"},
		"CustomNotHex":     {"HEX is upper case and even", health(api.HealthCheck{CheckType: str("CUSTOM"), ContextType: str("HEX"), SendContext: str("0f0"), RecvContext: str("00")}), "InvalidParameterValue"},
		"CustomTooLong":    {"500 characters", health(api.HealthCheck{CheckType: str("CUSTOM"), ContextType: str("TEXT"), SendContext: str(strings.Repeat("x", 501)), RecvContext: str("y")}), "InvalidParameterValue"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, str("TCP"), []*int64{i64(9000)}
			tc.set(q)
			_, err := r.client.CreateListener(q)
			if diff := cmp.Diff(tc.want, code(err)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func (r *rig) listeners(lb string, set ...func(*api.DescribeListenersRequest)) []*api.Listener {
	r.t.Helper()
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId = &lb
	for _, f := range set {
		f(q)
	}
	answer := must[*api.DescribeListenersResponse](r.t)(r.client.DescribeListeners(q)).Response
	if int(*answer.TotalCount) != len(answer.Listeners) {
		r.t.Errorf("TotalCount is %d of %d", *answer.TotalCount, len(answer.Listeners))
	}
	return answer.Listeners
}

func TestListenerDefaults(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	r.listener(lb, "TCP", 8080, func(q *api.CreateListenerRequest) { q.ListenerNames = common.StringPtrs([]string{"web"}) })
	r.listener(lb, "UDP", 8080)
	got := r.listeners(lb)
	type view struct {
		Name, Protocol, Scheduler, CheckType        string
		Port, Session, Idle                         int64
		Switch, Timeout, Interval, Health, Unhealth int64
		Rst                                         bool
	}
	var views []view
	for _, l := range got {
		hc := l.HealthCheck
		views = append(views, view{
			*l.ListenerName, *l.Protocol, *l.Scheduler, *hc.CheckType, *l.Port, *l.SessionExpireTime, *l.IdleConnectTimeout,
			*hc.HealthSwitch, *hc.TimeOut, *hc.IntervalTime, *hc.HealthNum, *hc.UnHealthNum, *l.DeregisterTargetRst,
		})
	}
	want := []view{
		{"web", "TCP", "WRR", "TCP", 8080, 0, 900, 1, 2, 5, 3, 3, false},
		{"", "UDP", "WRR", "PING", 8080, 0, 300, 1, 2, 5, 3, 3, false},
	}
	if diff := cmp.Diff(want, views); diff != "" {
		t.Errorf("documented defaults: -want +got:\n%s", diff)
	}

	byPort := r.listeners(lb, func(q *api.DescribeListenersRequest) { q.Protocol, q.Port = str("UDP"), i64(8080) })
	if len(byPort) != 1 || *byPort[0].Protocol != "UDP" {
		t.Errorf("protocol and port find one listener, got %d", len(byPort))
	}
	byID := r.listeners(lb, func(q *api.DescribeListenersRequest) { q.ListenerIds = []*string{got[0].ListenerId, str("lbl-none")} })
	if len(byID) != 1 || *byID[0].ListenerId != *got[0].ListenerId {
		t.Errorf("ids find the listeners that exist, got %d", len(byID))
	}
}

func TestModifyListener(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	modify := func(set func(*api.ModifyListenerRequest)) string {
		q := api.NewModifyListenerRequest()
		q.LoadBalancerId, q.ListenerId = &lb, &l
		set(q)
		answer, err := r.client.ModifyListener(q)
		if err == nil {
			r.done(answer.Response.RequestId)
		}
		return code(err)
	}
	steps := []struct {
		reason string
		set    func(*api.ModifyListenerRequest)
		want   string
	}{
		{"nothing given is no error", func(q *api.ModifyListenerRequest) {}, ""},
		{"IP_HASH is for modifying", func(q *api.ModifyListenerRequest) { q.Scheduler = str("IP_HASH") }, ""},
		{"sessions need WRR, which it is no longer", func(q *api.ModifyListenerRequest) { q.SessionExpireTime = i64(60) }, "InvalidParameterValue"},
		{"both together go", func(q *api.ModifyListenerRequest) { q.SessionExpireTime, q.Scheduler = i64(60), str("WRR") }, ""},
		{"one field of the health check leaves the others", func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{IntervalTime: i64(10)} }, ""},
		{"ranges hold against what was set before", func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{TimeOut: i64(10)} }, "InvalidParameterValue"},
		{"a check port", func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{CheckPort: i64(81)} }, ""},
		{"reset with -1", func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{CheckPort: i64(-1)} }, ""},
		{"name and flag", func(q *api.ModifyListenerRequest) { q.ListenerName, q.DeregisterTargetRst = str("web"), flag(true) }, ""},
		{"another load balancer", func(q *api.ModifyListenerRequest) { q.LoadBalancerId = str("lb-none") }, "InvalidParameter.LBIdNotFound"},
		{"another listener", func(q *api.ModifyListenerRequest) { q.ListenerId = str("lbl-none") }, "InvalidParameter.ListenerIdNotFound"},
		{"the listener is required", func(q *api.ModifyListenerRequest) { q.ListenerId = nil }, "MissingParameter"},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, modify(step.set)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
	got := r.listeners(lb)[0]
	if *got.SessionExpireTime != 60 || *got.HealthCheck.IntervalTime != 10 || *got.HealthCheck.TimeOut != 2 ||
		got.HealthCheck.CheckPort != nil || *got.ListenerName != "web" || !*got.DeregisterTargetRst {
		t.Errorf("after all changes: %+v %+v", got, got.HealthCheck)
	}
}

func TestDeleteListeners(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	var ids []string
	for port := range 4 {
		ids = append(ids, r.listener(lb, "TCP", 8080+port))
	}
	batch := func(ids ...string) string {
		q := api.NewDeleteLoadBalancerListenersRequest()
		q.LoadBalancerId, q.ListenerIds = &lb, common.StringPtrs(ids)
		answer, err := r.client.DeleteLoadBalancerListeners(q)
		if err == nil {
			r.done(answer.Response.RequestId)
		}
		return code(err)
	}
	single := func(id string) string {
		q := api.NewDeleteListenerRequest()
		q.LoadBalancerId, q.ListenerId = &lb, &id
		answer, err := r.client.DeleteListener(q)
		if err == nil {
			r.done(answer.Response.RequestId)
		}
		return code(err)
	}
	steps := []struct {
		reason string
		do     func() string
		want   string
		left   int
	}{
		{"one", func() string { return single(ids[0]) }, "", 3},
		{"one that is gone", func() string { return single(ids[0]) }, "InvalidParameter", 3},
		{"a batch with one that is gone fails as a whole", func() string { return batch(ids[0], ids[1]) }, "InvalidParameter", 3},
		{"a batch of more than 20", func() string { return batch(make([]string, 21)...) }, "InvalidParameterValue.Length", 3},
		{"a batch", func() string { return batch(ids[1]) }, "", 2},
		{"no ids are all", func() string { return batch() }, "", 0},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		if got := len(r.listeners(lb)); got != step.left {
			t.Errorf("%s: %d listeners left, want %d", step.reason, got, step.left)
		}
	}
}
