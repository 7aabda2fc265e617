package clb

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
)

// raw sends an action with a body of the test's own.
func raw(t *testing.T, s *Server, version, region, action string, body map[string]any) error {
	t.Helper()
	prof := profile.NewClientProfile()
	prof.HttpProfile.Endpoint = s.Endpoint()
	prof.HttpProfile.Scheme = "HTTP"
	client := common.NewCommonClient(common.NewCredential("id", "key"), region, prof)
	q := tchttp.NewCommonRequest("clb", version, action)
	if err := q.SetActionParameters(body); err != nil {
		t.Fatal(err)
	}
	return client.Send(q, tchttp.NewCommonResponse())
}

func TestProtocol(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Regions = []string{testRegion} })
	type args struct {
		version, region, action string
		body                    map[string]any
	}
	cases := map[string]struct {
		reason string
		args   args
		want   string
	}{
		"KnownAction": {
			reason: "a request in order is answered",
			args:   args{"2018-03-17", testRegion, "DescribeQuota", map[string]any{}},
		},
		"UnknownAction": {
			reason: "actions the service doesn't have are told apart from bad parameters",
			args:   args{"2018-03-17", testRegion, "MakeCoffee", map[string]any{}},
			want:   "InvalidAction",
		},
		"OtherVersion": {
			reason: "the version belongs to the contract",
			args:   args{"2017-03-12", testRegion, "DescribeQuota", map[string]any{}},
			want:   "NoSuchVersion",
		},
		"OtherRegion": {
			reason: "a region that isn't served is refused",
			args:   args{"2018-03-17", "ap-elsewhere", "DescribeQuota", map[string]any{}},
			want:   "UnsupportedRegion",
		},
		"NoRegion": {
			reason: "CLB is a regional service",
			args:   args{"2018-03-17", "", "DescribeQuota", map[string]any{}},
			want:   "MissingParameter",
		},
		"UnknownParameter": {
			reason: "a misspelt parameter must not be ignored in silence",
			args:   args{"2018-03-17", testRegion, "DescribeListeners", map[string]any{"LoadBalancerID_": "lb-1"}},
			want:   "UnknownParameter",
		},
		"UnknownNestedParameter": {
			reason: "so with parameters inside of others",
			args: args{"2018-03-17", testRegion, "BatchRegisterTargets", map[string]any{
				"LoadBalancerId": "lb-1", "Targets": []any{map[string]any{"Wait": 1}},
			}},
			want: "UnknownParameter",
		},
		"WrongType": {
			reason: "a string where a number belongs is an error",
			args:   args{"2018-03-17", testRegion, "DescribeListeners", map[string]any{"LoadBalancerId": "lb-1", "Port": "80"}},
			want:   "InvalidParameter",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := code(raw(t, r.Server, tc.args.version, tc.args.region, tc.args.action, tc.args.body))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSignature(t *testing.T) {
	r := newRig(t)
	_, err := newClient(t, r.Server, "id", "wrong").DescribeQuota(api.NewDescribeQuotaRequest())
	if diff := cmp.Diff("AuthFailure.SignatureFailure", code(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	calls := r.Calls()
	if len(calls) != 1 || calls[0].Code != "AuthFailure.SignatureFailure" || calls[0].Principal != "" {
		t.Errorf("a rejected signature should be logged without a principal: %+v", calls)
	}
}

func TestRequestRate(t *testing.T) {
	now := time.Now()
	limited := func(o *Options) {
		o.RequestRate = 3
		o.Now = func() time.Time { return now }
	}
	t.Run("OneAccount", func(t *testing.T) {
		r := newRig(t, limited)
		other := newClient(t, r.Server, "id2", "key2")
		var got []string
		for _, client := range []*api.Client{r.client, other, r.client, other} {
			_, err := client.DescribeQuota(api.NewDescribeQuotaRequest())
			got = append(got, code(err))
		}
		_, err := r.client.DescribeLoadBalancers(api.NewDescribeLoadBalancersRequest())
		got = append(got, code(err))
		now = now.Add(time.Second / 3)
		_, err = r.client.DescribeQuota(api.NewDescribeQuotaRequest())
		got = append(got, code(err))
		want := []string{"", "", "", "RequestLimitExceeded", "", ""}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the limit is by action, over all principals, and comes back with time: -want +got:\n%s", diff)
		}
	})
	t.Run("ByPrincipal", func(t *testing.T) {
		r := newRig(t, limited, func(o *Options) { o.SubAccount = func(p string) string { return p } })
		other := newClient(t, r.Server, "id2", "key2")
		var got []string
		for range 4 {
			_, err := r.client.DescribeQuota(api.NewDescribeQuotaRequest())
			got = append(got, code(err))
		}
		_, err := other.DescribeQuota(api.NewDescribeQuotaRequest())
		got = append(got, code(err))
		want := []string{"", "", "", "RequestLimitExceeded", ""}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestCallLog(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	r.ResetCalls()
	r.bind(lb, batchTarget(l, addr("127.77.3.1:80"), 10), batchTarget(l, addr("127.77.3.2:80"), 10))
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId = common.StringPtr("lb-none")
	_, _ = r.client.DescribeListeners(q)

	type summary struct {
		Action, Principal, LoadBalancerID, Code string
		Targets                                 int
		Write                                   bool
	}
	var got []summary
	for _, c := range r.Calls() {
		if c.RequestID == "" || c.Time.IsZero() || c.Done.Before(c.Time) {
			t.Errorf("a call without its id or times: %+v", c)
		}
		got = append(got, summary{c.Action, c.Principal, c.LoadBalancerID, c.Code, c.Targets, c.Write})
	}
	want := []summary{
		{"BatchRegisterTargets", "tester/1", lb, "", 2, true},
		{"DescribeListeners", "tester/1", "lb-none", "InvalidParameter.LBIdNotFound", 0, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"BatchRegisterTargets": 1, "DescribeListeners": 1}, r.CallCounts()); diff != "" {
		t.Errorf("counts: -want +got:\n%s", diff)
	}
}
