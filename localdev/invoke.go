package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	scf "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
)

// functionTime is how long a function may take to answer: longer than the longest time
// limit in serverless.yml.
const functionTime = 70 * time.Second

// ask invokes a function of the running stack as a person with the vendor's command line
// would (SCF API, InvokeFunction), and gives its one reply.
func ask(ctx context.Context, root string, f event.Function, data event.Sync) (event.Reply, error) {
	r, err := whatIsUp(root)
	if err != nil {
		return event.Reply{}, err
	}
	id := "by-hand-" + uuid.NewString()
	data.Cluster, data.Attempt = stack.ClusterID, id
	e, err := event.Request{ID: id, Function: f, Source: event.Source(stack.ClusterID), Sync: data}.Encode(time.Now())
	if err != nil {
		return event.Reply{}, err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return event.Reply{}, fmt.Errorf("encoding the event: %w", err)
	}
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", r.SCF
	p.HttpProfile.ReqTimeout = int(functionTime / time.Second)
	client, err := scf.NewClient(common.NewCredential(r.SecretID, r.SecretKey), stack.Region, p)
	if err != nil {
		return event.Reply{}, fmt.Errorf("making the SCF client: %w", err)
	}
	req := scf.NewInvokeFunctionRequest()
	req.FunctionName, req.Event = common.StringPtr(r.Functions[f]), common.StringPtr(string(raw))
	res, err := client.InvokeFunctionWithContext(ctx, req)
	if err != nil {
		return event.Reply{}, fmt.Errorf("invoking %s: %w", f, err)
	}
	if failure := res.Response.Result.ErrMsg; failure != nil && *failure != "" {
		return event.Reply{}, fmt.Errorf("invoking %s: %s", f, *failure)
	}
	replies, err := event.ParseReplies([]byte(*res.Response.Result.RetMsg))
	if err != nil || len(replies) != 1 {
		return event.Reply{}, fmt.Errorf("reading the answer %q: %w", *res.Response.Result.RetMsg, err)
	}
	return replies[0], nil
}

// whatIsUp is the running stack.
func whatIsUp(root string) (running, error) {
	r, err := recall(root)
	if errors.Is(err, os.ErrNotExist) || err == nil && (!r.alive() || !r.Ready) {
		return running{}, errors.New("nothing is up; `make up` starts a stack")
	}
	return r, err
}
