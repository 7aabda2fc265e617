package clb

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	tcerr "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// Codes that callers look at (CLB API, errors).
const (
	CodeBusy         = "FailedOperation.ResourceInOperating"
	CodeRate         = "RequestLimitExceeded"
	CodeQuota        = "LimitExceeded"
	CodeLBGone       = "InvalidParameter.LBIdNotFound"
	CodeListenerGone = "InvalidParameter.ListenerIdNotFound"
	CodeLocationGone = "InvalidParameter.LocationNotFound"
	CodePortTaken    = "InvalidParameter.PortCheckFailed"
	CodeTokenSpent   = "InvalidParameter.ClientTokenLimitExceeded"

	codeRewriteGone   = "InvalidParameter.SomeRewriteNotFound"
	codeRewriteExists = "InvalidParameter.RewriteAlreadyExist"
)

// apiError is a CLB error as smithy.APIError, unwrapping to the SDK's own.
type apiError struct {
	cause *tcerr.TencentCloudSDKError
	fault smithy.ErrorFault
}

func (e *apiError) Error() string {
	return e.cause.Code + ": " + e.cause.Message + " (request " + e.cause.RequestId + ")"
}
func (e *apiError) ErrorCode() string             { return e.cause.Code }
func (e *apiError) ErrorMessage() string          { return e.cause.Message }
func (e *apiError) ErrorFault() smithy.ErrorFault { return e.fault }
func (e *apiError) Unwrap() error                 { return e.cause }

var _ smithy.APIError = (*apiError)(nil)

// classify turns what the SDK returned into a fault: who is to blame, and what the
// caller can do. Code prefixes cover sub-codes, which Tencent adds without notice.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var cause *tcerr.TencentCloudSDKError
	if !errors.As(err, &cause) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return fault.New(fault.Transient, op, err)
		}
		return fault.New(fault.Transient, op, err)
	}
	kind, blame, after := kindOf(cause.Code, cause.Message)
	return &fault.Error{Kind: kind, Op: op, Code: cause.Code, RetryAfter: after, Err: &apiError{cause, blame}}
}

func kindOf(code, message string) (fault.Kind, smithy.ErrorFault, time.Duration) {
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if code == p || strings.HasPrefix(code, p+".") {
				return true
			}
		}
		return false
	}
	switch {
	case has(CodeRate):
		return fault.Throttled, smithy.FaultServer, time.Second
	case has(CodeBusy, "FailedOperation.ResourceInCloning", "ResourceInUse", "ResourceUnavailable"):
		return fault.Throttled, smithy.FaultServer, 300 * time.Millisecond
	case has(CodeLBGone, CodeListenerGone, CodeLocationGone, codeRewriteGone, "ResourceNotFound"),
		strings.Contains(message, "not found") && has("InvalidParameter", "InvalidParameterValue"):
		return fault.NotFound, smithy.FaultClient, 0
	case has(CodePortTaken, codeRewriteExists, "InvalidParameterValue.Duplicate", CodeTokenSpent):
		return fault.Conflict, smithy.FaultClient, 0
	case has("AuthFailure.TokenFailure", "AuthFailure.SignatureExpire"):
		// Credentials come anew with the next event.
		return fault.Transient, smithy.FaultClient, 0
	case has("LimitExceeded", "ResourceInsufficient", "ResourcesSoldOut", "AuthFailure", "UnauthorizedOperation", "OperationDenied", "UnsupportedOperation"):
		return fault.Permanent, smithy.FaultClient, 0
	case has("InternalError", "ClientError", "FailedOperation"):
		return fault.Transient, smithy.FaultServer, 0
	case has("InvalidParameter", "InvalidParameterValue", "MissingParameter", "UnknownParameter"):
		return fault.Invalid, smithy.FaultClient, 0
	}
	return fault.Transient, smithy.FaultUnknown, 0
}

// Code is the API's own code in err's chain, or that of a refusal before the call; ""
// if none.
func Code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

// IsQuota tells whether err says that a quota is used up.
func IsQuota(err error) bool {
	c := Code(err)
	return c == CodeQuota || strings.HasPrefix(c, CodeQuota+".")
}
