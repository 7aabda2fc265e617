package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tcerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	scf "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/shared/event"
)

// InvokeOptions say where the functions are and who calls them.
type InvokeOptions struct {
	// Functions are their names, Namespace where they are ("default" unless set).
	Functions map[event.Function]string
	Namespace string
	Region    string
	// Endpoint is the API's host (and port), "" for the SDK's own; Scheme is HTTP or
	// HTTPS, HTTPS unless set.
	Endpoint, Scheme string
	// Credential signs the calls. CAM needs scf:InvokeFunction on the functions.
	Credential common.CredentialIface
	// Timeout bounds one call, in whole seconds.
	Timeout time.Duration
}

// Invoke sends by the API action InvokeFunction: no public endpoint, callers
// checked by CAM.
type Invoke struct {
	client *scf.Client
	o      InvokeOptions
}

// NewInvoke makes the transport.
func NewInvoke(o InvokeOptions) (*Invoke, error) {
	for _, f := range event.Functions {
		if o.Functions[f] == "" {
			return nil, fmt.Errorf("reading the name of function %s: it is empty", f)
		}
	}
	p := profile.NewClientProfile()
	p.HttpProfile.ReqTimeout = int(max(o.Timeout, time.Second) / time.Second)
	if o.Endpoint != "" {
		p.HttpProfile.Endpoint = o.Endpoint
	}
	if o.Scheme != "" {
		p.HttpProfile.Scheme = o.Scheme
	}
	// The queue retries; a retry here would start a pass that nobody waits for.
	p.NetworkFailureMaxRetries, p.RateLimitExceededMaxRetries = 0, 0
	client, err := scf.NewClient(o.Credential, o.Region, p)
	if err != nil {
		return nil, fmt.Errorf("making the SCF client: %w", err)
	}
	return &Invoke{client: client, o: o}, nil
}

// renewed is a credential whose keys are only to be had from somebody, and end.
type renewed interface {
	common.CredentialIface
	// Ready waits until there are keys.
	Ready(ctx context.Context) error
	// Reject is told that the API no longer takes the keys with that id.
	Reject(id string)
}

// Send invokes the function with the event as it is.
func (i *Invoke) Send(ctx context.Context, f event.Function, payload []byte) (event.Reply, error) {
	keys, renews := i.o.Credential.(renewed)
	if renews {
		if err := keys.Ready(ctx); err != nil {
			return event.Reply{}, &Failure{Code: "credential", Err: err}
		}
	}
	used := i.o.Credential.GetSecretId()
	req := scf.NewInvokeFunctionRequest()
	req.FunctionName = common.StringPtr(i.o.Functions[f])
	req.Qualifier = common.StringPtr("$DEFAULT")
	req.Event = common.StringPtr(string(payload))
	if i.o.Namespace != "" {
		req.Namespace = common.StringPtr(i.o.Namespace)
	}
	resp, err := i.client.InvokeFunctionWithContext(ctx, req)
	if err != nil {
		if renews && begins(errorCode(err), "AuthFailure.TokenFailure", "AuthFailure.SecretIdNotFound") {
			keys.Reject(used)
		}
		return event.Reply{}, invokeError(ctx, err)
	}
	if resp.Response == nil || resp.Response.Result == nil {
		return event.Reply{}, &Failure{Code: "malformed", Err: errors.New("the answer has no Result")}
	}
	return invokeResult(resp.Response.Result)
}

// invokeError keeps our own deadline apart from what the platform says: the SDK
// wraps both alike.
func invokeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("invoking: %w", ctx.Err())
	}
	var e *tcerrors.TencentCloudSDKError
	if errors.As(err, &e) && e.RequestId != "" {
		return &Failure{
			Code: e.Code, RequestID: e.RequestId, Err: errors.New(e.Message),
			Throttled: begins(e.Code, "RequestLimitExceeded", "LimitExceeded"),
			Refused:   begins(e.Code, "InvalidParameter", "ResourceNotFound", "UnauthorizedOperation", "AuthFailure.UnauthorizedOperation", "UnsupportedOperation"),
		}
	}
	return fmt.Errorf("invoking: %w", err)
}

// errorCode is the API's code in err, "" for none.
func errorCode(err error) string {
	if e := (*tcerrors.TencentCloudSDKError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// begins tells whether an API error code is one of those, or a particular case of one.
func begins(code string, of ...string) bool {
	return slices.ContainsFunc(of, func(s string) bool {
		return code == s || strings.HasPrefix(code, s+".") || strings.HasPrefix(code, s+"Value.") || code == s+"Value"
	})
}

func invokeResult(r *scf.Result) (event.Reply, error) {
	status := 0
	if r.InvokeResult != nil {
		status = int(*r.InvokeResult)
	}
	var id, failure, answer string
	for to, from := range map[*string]*string{&id: r.FunctionRequestId, &failure: r.ErrMsg, &answer: r.RetMsg} {
		if from != nil {
			*to = *from
		}
	}
	if failure != "" {
		f := parseFailure([]byte(failure), status)
		f.RequestID = id
		return event.Reply{}, f
	}
	reply, err := parseReply([]byte(answer))
	if err != nil {
		return event.Reply{}, &Failure{Code: "malformed", Ended: true, RequestID: id, Err: err}
	}
	return reply, nil
}
