package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

// sender sends events to deployed functions by hand.
type sender struct {
	scf             *scf.Server
	cluster, secret string
}

func (e *env) sender() sender { return sender{e.SCF, stack.ClusterID, e.EventSecret} }

// response is what a function URL answered.
type response struct {
	status int
	// requestID is the platform's.
	requestID string
	body      []byte
}

// post sends a body to a function URL with the headers given and no others.
func (d sender) post(ctx context.Context, f event.Function, headers map[string]string, body string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.scf.URL(string(f)), strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", event.ContentType)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header.Get("X-Scf-Request-Id"), answer}, err
}

// send sends an event as the forwarder does.
func (d sender) send(ctx context.Context, f event.Function, data event.Sync) (event.Reply, error) {
	if data.Cluster == "" {
		data.Cluster = d.cluster
	}
	if data.Attempt == "" {
		data.Attempt = "by-hand-" + uuid.NewString()
	}
	if data.Grant == nil {
		data.Grant = map[string]float64{"*": 20}
	}
	e, err := event.Request{ID: uuid.NewString(), Function: f, Source: event.Source(data.Cluster), Sync: data}.Encode(time.Now())
	if err != nil {
		return event.Reply{}, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return event.Reply{}, err
	}
	res, err := d.post(ctx, f, event.Sign(d.secret, string(body), time.Now()), string(body))
	if err != nil {
		return event.Reply{}, err
	}
	if res.status != http.StatusOK {
		return event.Reply{}, fmt.Errorf("%s answered %d: %s", f, res.status, bytes.TrimSpace(res.body))
	}
	replies, err := event.ParseReplies(res.body)
	if err != nil || len(replies) != 1 {
		return event.Reply{}, fmt.Errorf("reading %q: %w", res.body, err)
	}
	return replies[0], nil
}

// must sends and fails the test if there is no answer.
func (d sender) must(t *testing.T, f event.Function, data event.Sync) event.Reply {
	t.Helper()
	r, err := d.send(t.Context(), f, data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// invoke sends a payload by InvokeFunction, as the console and the command line do.
func (s *space) invoke(f event.Function, payload string) event.Reply {
	s.t.Helper()
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint, p.HttpProfile.ReqTimeout = "HTTP", s.SCF.Endpoint(), 90
	client, err := sdk.NewClient(common.NewCredential(s.Account.SecretID, s.Account.SecretKey), stack.Region, p)
	s.must(err)
	req := sdk.NewInvokeFunctionRequest()
	req.FunctionName, req.Event = new(s.SCF.Function(string(f))), &payload
	res, err := client.InvokeFunctionWithContext(s.t.Context(), req)
	s.must(err)
	if failure := res.Response.Result.ErrMsg; *failure != "" {
		s.t.Fatalf("%s failed: %s", f, *failure)
	}
	replies, err := event.ParseReplies([]byte(*res.Response.Result.RetMsg))
	s.must(err)
	return replies[0]
}

// syncs are events for everything in the namespace, a CLB at a time.
func (s *space) syncs() map[string]event.Sync {
	s.t.Helper()
	fronts, err := s.fronts(s.t.Context())
	s.must(err)
	out := map[string]event.Sync{}
	for _, f := range fronts {
		data := out[f.balancer]
		data.All = true
		data.Objects = append(data.Objects, event.Ref(f.ref))
		if f.balancer != "" {
			data.LoadBalancers = []string{f.balancer}
		}
		out[f.balancer] = data
	}
	return out
}

// settled runs every pass once more and requires that it changes nothing: no CLB
// call that writes, nothing written to Kubernetes. The forwarder may not be done yet
// with what a test has seen the first of, so that a pass may find something to do once,
// never again and again.
func (s *space) settled() {
	s.t.Helper()
	var done []string
	for range 3 {
		before := s.versions()
		done = nil
		for id, data := range s.syncs() {
			for _, f := range event.Functions {
				if f != event.Frontend && id == "" {
					continue
				}
				done = append(done, s.pass(f, data)...)
			}
		}
		if diff := cmp.Diff(before, s.versions()); diff != "" {
			done = append(done, "objects were written: -before +after:\n"+diff)
		}
		if len(done) == 0 {
			return
		}
	}
	s.t.Errorf("passes over what has converged still find something to do:\n%s", strings.Join(done, "\n"))
}

// pass sends one event, again while the forwarder's own pass has the Lease, and says
// what it did.
func (s *space) pass(f event.Function, data event.Sync) (done []string) {
	s.t.Helper()
	for {
		r := s.sender().must(s.t, f, data)
		if r.Failure != nil && r.Failure.Kind == fault.Conflict && len(r.Writes) == 0 {
			continue
		}
		if r.Failure != nil || len(r.Writes) > 0 || r.Continue {
			done = append(done, fmt.Sprintf("%s over %v: %+v", f, data.Objects, r))
		}
		for action := range r.Calls {
			if !strings.HasPrefix(action, "Describe") {
				done = append(done, fmt.Sprintf("%s over %v called %s", f, data.Objects, action))
			}
		}
		return done
	}
}

// versions are the resourceVersions of the namespace's Services, Ingresses and pods.
func (s *space) versions() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	fronts, err := s.fronts(s.t.Context())
	s.must(err)
	for _, f := range fronts {
		out[string(f.ref.Kind)+" "+f.ref.Name] = f.version
	}
	pods, err := s.client.CoreV1().Pods(s.name).List(s.t.Context(), metav1.ListOptions{})
	s.must(err)
	for _, o := range pods.Items {
		out["pod "+o.Name] = o.ResourceVersion
	}
	return out
}

// writes are the calls since a moment that wrote to a CLB, or would have: those that
// met it busy are left out, as they are made again.
func (e *env) writes(id string, since time.Time) []clb.Call {
	return slices.DeleteFunc(e.CLB.Calls(), func(c clb.Call) bool {
		return !c.Write || c.LoadBalancerID != id || c.Time.Before(since) || c.Code == "FailedOperation.ResourceInOperating"
	})
}

// byAction counts calls.
func byAction(calls []clb.Call) map[string]int {
	out := map[string]int{}
	for _, c := range calls {
		out[c.Action]++
	}
	return out
}

// cloud is the CLB as somebody else in the account uses it.
func cloud(t *testing.T, s *clb.Server, as tc3.Credential) *api.Client {
	t.Helper()
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", s.Endpoint()
	c, err := api.NewClient(common.NewCredential(as.SecretID, as.SecretKey), stack.Region, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *space) cloud() *api.Client { return cloud(s.t, s.CLB, s.Account) }

// done awaits a task of the CLB.
func (s *space) done(requestID *string) {
	s.t.Helper()
	q := api.NewDescribeTaskStatusRequest()
	q.TaskId = requestID
	s.await("task "+*requestID+" is done", func() (bool, string) {
		res, err := s.cloud().DescribeTaskStatus(q)
		s.must(err)
		if *res.Response.Status == 1 {
			s.t.Fatalf("task %s failed", *requestID)
		}
		return *res.Response.Status == 0, fmt.Sprint(*res.Response.Status)
	})
}

// again repeats a call while the CLB is busy.
func again[T any](s *space, call func() (T, error)) T {
	s.t.Helper()
	var out T
	s.await("the CLB takes a call", func() (bool, string) {
		var err error
		if out, err = call(); err != nil && !strings.Contains(err.Error(), "ResourceInOperating") {
			s.t.Fatal(err)
		}
		return err == nil, fmt.Sprint(err)
	})
	return out
}

// existing makes a CLB as a person would, with tags key and value by turns, and
// deletes it in the end.
func (s *space) existing(tags ...string) string {
	s.t.Helper()
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType, q.LoadBalancerName = new("OPEN"), new("somebody-elses-"+s.name[:min(len(s.name), 40)])
	for i := 0; i < len(tags); i += 2 {
		q.Tags = append(q.Tags, &api.TagInfo{TagKey: &tags[i], TagValue: &tags[i+1]})
	}
	res, err := s.cloud().CreateLoadBalancer(q)
	s.must(err)
	s.done(res.Response.RequestId)
	id := *res.Response.LoadBalancerIds[0]
	s.await("load balancer "+id+" has an address", func() (bool, string) {
		lb, ok := s.balancer(id)
		return ok && lb.VIP.IsValid(), fmt.Sprintf("%+v", lb)
	})
	return id
}

// listener makes one of somebody else's.
func (s *space) listener(id, name, protocol string, port int64) {
	s.t.Helper()
	q := api.NewCreateListenerRequest()
	q.LoadBalancerId, q.Protocol, q.Ports, q.ListenerNames = &id, &protocol, []*int64{&port}, []*string{&name}
	res := again(s, func() (*api.CreateListenerResponse, error) { return s.cloud().CreateListener(q) })
	s.done(res.Response.RequestId)
}
