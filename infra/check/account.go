package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/shared/event"
)

// nowhere are ids that no load balancer, listener or rule of an account can have: calls
// that write name them, so that they change nothing whether they are allowed or not.
const (
	nowhere         = "lb-00000000"
	nowhereListener = "lbl-00000000"
	nowhereRule     = "loc-00000000"
)

type params = map[string]any

// harmless are the parameters that an action is asked about with. Authorization comes
// before them: a call that is refused for its parameters was allowed.
var harmless = map[string]params{
	"DescribeLoadBalancers":       {"Limit": 1},
	"DescribeListeners":           {"LoadBalancerId": nowhere},
	"DescribeTargets":             {"LoadBalancerId": nowhere},
	"DescribeTargetHealth":        {"LoadBalancerIds": []string{nowhere}},
	"DescribeTaskStatus":          {"TaskId": "00000000-0000-0000-0000-000000000000"},
	"CreateLoadBalancer":          {"LoadBalancerType": "NONE"},
	"DeleteLoadBalancer":          {"LoadBalancerIds": []string{nowhere}},
	"CreateListener":              {"LoadBalancerId": nowhere, "Ports": []int{80}, "Protocol": "TCP"},
	"ModifyListener":              {"LoadBalancerId": nowhere, "ListenerId": nowhereListener},
	"DeleteLoadBalancerListeners": {"LoadBalancerId": nowhere, "ListenerIds": []string{nowhereListener}},
	"CreateRule":                  {"LoadBalancerId": nowhere, "ListenerId": nowhereListener, "Rules": []params{{"Url": "/", "Domain": "nowhere.invalid"}}},
	"ModifyRule":                  {"LoadBalancerId": nowhere, "ListenerId": nowhereListener, "LocationId": nowhereRule},
	"DeleteRule":                  {"LoadBalancerId": nowhere, "ListenerId": nowhereListener, "LocationIds": []string{nowhereRule}},
	"ModifyDomainAttributes":      {"LoadBalancerId": nowhere, "ListenerId": nowhereListener, "Domain": "nowhere.invalid"},
	"ManualRewrite":               {"LoadBalancerId": nowhere, "SourceListenerId": nowhereListener, "TargetListenerId": nowhereListener, "RewriteInfos": []params{{"SourceLocationId": nowhereRule, "TargetLocationId": nowhereRule}}},
	"DeleteRewrite":               {"LoadBalancerId": nowhere, "SourceListenerId": nowhereListener, "TargetListenerId": nowhereListener, "RewriteInfos": []params{{"SourceLocationId": nowhereRule, "TargetLocationId": nowhereRule}}},
	"BatchRegisterTargets":        {"LoadBalancerId": nowhere, "Targets": []params{{"ListenerId": nowhereListener, "EniIp": "192.0.2.1", "Port": 80}}},
	"BatchDeregisterTargets":      {"LoadBalancerId": nowhere, "Targets": []params{{"ListenerId": nowhereListener, "EniIp": "192.0.2.1", "Port": 80}}},
	"BatchModifyTargetWeight":     {"LoadBalancerId": nowhere, "ModifyList": []params{{"ListenerId": nowhereListener, "Targets": []params{{"EniIp": "192.0.2.1", "Port": 80}}, "Weight": 0}}},
	"BatchModifyTargetTag":        {"LoadBalancerId": nowhere, "ModifyList": []params{{"ListenerId": nowhereListener, "Targets": []params{{"EniIp": "192.0.2.1", "Port": 80}}, "Tag": ""}}},
}

// account calls the account's APIs.
type account struct {
	in given
	o  options
}

// call gives an action's answer, or its error's code.
func (a account) call(service, version, action string, p params) (json.RawMessage, error) {
	prof := profile.NewClientProfile()
	prof.HttpProfile.ReqTimeout = 40
	endpoint, scheme := a.in.config.CLBEndpoint, "HTTPS"
	if service == "scf" {
		endpoint, scheme = a.o.scfEndpoint, a.o.scfScheme
	}
	if rest, plain := strings.CutPrefix(endpoint, "http://"); plain {
		endpoint, scheme = rest, "HTTP"
	}
	prof.HttpProfile.Endpoint, prof.HttpProfile.Scheme = strings.TrimPrefix(endpoint, "https://"), scheme
	client := common.NewCommonClient(common.NewCredential(a.in.secretID, a.in.secretKey), a.in.config.Region, prof)
	req := tchttp.NewCommonRequest(service, version, action)
	if err := req.SetActionParameters(p); err != nil {
		return nil, fmt.Errorf("writing parameters: %w", err)
	}
	res := tchttp.NewCommonResponse()
	// Twenty requests a second are all that an account has; the functions want some.
	time.Sleep(100 * time.Millisecond)
	if err := client.Send(req, res); err != nil {
		return nil, err
	}
	return res.GetBody(), nil
}

func code(err error) string {
	var e *sdkerrors.TencentCloudSDKError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func denied(err error) bool { return strings.Contains(code(err), "UnauthorizedOperation") }

// checkAccount asks about credentials, region, network and permissions.
func checkAccount(ctx context.Context, o options, in given, s *sheet) {
	if in.secretID == "" {
		for _, what := range []string{"credentials", "region", "VPC", "permissions (CAM)"} {
			s.line(skipped, what, "no -credentials were named", "")
		}
		return
	}
	a := account{in, o}
	const version = "2018-03-17"
	raw, err := a.call("clb", version, "DescribeLoadBalancers", params{"Limit": 1})
	switch c := code(err); {
	case c == "UnsupportedRegion" || strings.Contains(c, "Region"):
		s.line(ok, "credentials", "accepted", "")
		s.line(wrong, "region", in.config.Region+": "+c, "set REGION to the region of the cluster, such as ap-guangzhou")
		return
	case strings.HasPrefix(c, "AuthFailure") && !denied(err):
		s.line(wrong, "credentials", err.Error(), "name a key that exists and is enabled (CAM console, API Keys), and see that this machine's clock is right")
		return
	case err != nil && !denied(err):
		s.line(wrong, "CLB API", err.Error(), "see that this machine reaches the API; CLB_ENDPOINT names an in-VPC host only machines in a VPC reach")
		return
	}
	s.line(ok, "credentials", in.secretID+" is accepted", "")
	s.line(ok, "region", in.config.Region, "")
	a.checkVPC(raw, err, s)
	a.checkPermissions(ctx, version, s)
	a.checkFunctions(s)
}

// checkVPC tells what of the VPC can be seen with these rights: load balancers in it.
func (a account) checkVPC(_ json.RawMessage, err error, s *sheet) {
	if err == nil {
		var raw json.RawMessage
		if raw, err = a.call("clb", "2018-03-17", "DescribeLoadBalancers", params{"VpcId": a.in.config.VPC, "Limit": 1}); err == nil {
			var found struct {
				Response struct{ TotalCount int }
			}
			if json.Unmarshal(raw, &found) == nil && found.Response.TotalCount > 0 {
				s.line(ok, "VPC", fmt.Sprintf("%s has %d load balancers", a.in.config.VPC, found.Response.TotalCount), "")
				return
			}
			s.line(note, "VPC", fmt.Sprintf("%s, %s: no load balancer is there yet, so nothing shows whether it is the cluster's", a.in.config.VPC, a.in.env["SUBNET_ID"]), "compare with the cluster's basic information in the TKE console")
			return
		}
	}
	s.line(skipped, "VPC", fmt.Sprint(err), "")
}

// checkPermissions asks about each action that the functions' policy allows.
func (a account) checkPermissions(ctx context.Context, version string, s *sheet) {
	raw, err := os.ReadFile(filepath.Join(a.o.root, "infra/cam/functions.json"))
	var policy struct {
		Statement []struct{ Action []string }
	}
	if err == nil {
		err = json.Unmarshal(raw, &policy)
	}
	if err != nil {
		s.line(wrong, "permissions (CAM)", err.Error(), "name the module's directory with -root")
		return
	}
	asked, missing := 0, 0
	for _, st := range policy.Statement {
		for _, full := range st.Action {
			if ctx.Err() != nil {
				s.line(skipped, "permissions (CAM)", ctx.Err().Error(), "")
				return
			}
			_, action, _ := strings.Cut(full, ":")
			p, known := harmless[action]
			if !known {
				s.line(skipped, full, "there is no harmless way to ask", "")
				continue
			}
			asked++
			if _, err := a.call("clb", version, action, p); denied(err) {
				missing++
				s.line(wrong, "permission "+full, "is missing", "grant infra/cam/functions.json, whole, to role "+a.in.env["FUNCTION_ROLE_NAME"]+" and to this key")
			}
		}
	}
	if missing == 0 {
		s.line(ok, "permissions (CAM)", fmt.Sprintf("all %d actions of infra/cam/functions.json", asked), "")
	}
}

// checkFunctions has a function answer: then role, network and token of all are right.
func (a account) checkFunctions(s *sheet) {
	name := a.o.explain
	if name == "" {
		name = "clb-direct-" + a.in.env["STAGE"] + "-clb-direct-explain" // app, stage, name of serverless.yml, key
	}
	question, err := json.Marshal(map[string]any{
		"specversion": "1.0", "type": "io.clb-direct.explain.sync", "source": "/clusters/" + a.in.config.Policy.Cluster,
		"id": "deploy-check", "datacontenttype": "application/json",
		"data": params{"cluster": a.in.config.Policy.Cluster, "objects": []params{{"kind": "Service", "namespace": "default", "name": "kubernetes"}}, "attempt": "deploy-check"},
	})
	if err != nil {
		s.line(wrong, "functions", err.Error(), "")
		return
	}
	raw, err := a.call("scf", "2018-04-16", "InvokeFunction", params{"FunctionName": name, "Event": string(question)})
	switch {
	case denied(err):
		s.line(wrong, "permission scf:InvokeFunction", "is missing", "grant infra/cam/forwarder.json to this key, and where the forwarder calls functions by API to its key")
		return
	case strings.HasPrefix(code(err), "ResourceNotFound"):
		s.line(note, "functions", name+" is not deployed yet", "make deploy, then check again")
		return
	case err != nil:
		s.line(wrong, "functions", err.Error(), "see the function's log in the SCF console")
		return
	}
	var res struct {
		Response struct {
			Result struct {
				ErrMsg, RetMsg string
			}
		}
	}
	if err := json.Unmarshal(raw, &res); err != nil {
		s.line(wrong, "functions", err.Error(), "")
		return
	}
	replies, err := event.ParseReplies([]byte(res.Response.Result.RetMsg))
	switch {
	case res.Response.Result.ErrMsg != "":
		s.line(wrong, "functions", name+": "+res.Response.Result.ErrMsg, "see the function's log in the SCF console; a timeout means that it doesn't reach the cluster from its subnet")
	case err != nil || len(replies) == 0:
		s.line(wrong, "functions", fmt.Sprintf("%s answered %q", name, res.Response.Result.RetMsg), "deploy this version: make deploy")
	case replies[0].Failure != nil:
		s.line(wrong, "functions", name+": "+replies[0].Failure.Message, "the function runs and can't do its work: KUBE_TOKEN, KUBE_SERVER or its role are wrong")
	default:
		s.line(ok, "functions", name+" answers: it reaches the cluster", "")
	}
}
