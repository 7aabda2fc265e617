package clb

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// unknownField is encoding/json's wording, the only way it tells.
var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// decode reads a request strictly, as API 3.0 does: parameters it doesn't know and
// values of another type are errors.
func decode(body []byte, request any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(request)
	if err == nil {
		return nil
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return failure("UnknownParameter", "The parameter `%s` is not recognized.", m[1])
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return failure("InvalidParameter", "The value type of parameter `%s` is not valid.", strings.TrimPrefix(wrong.Field, "."))
	}
	return failure("InvalidParameter", "The request body is not valid JSON: %v.", err)
}

// summarize says what a request is about, for the call log.
func summarize(request any) (loadBalancer string, targets int) {
	switch r := request.(type) {
	case *api.DescribeLoadBalancersRequestParams:
		return first(r.LoadBalancerIds), 0
	case *api.DeleteLoadBalancerRequestParams:
		return first(r.LoadBalancerIds), 0
	case *api.CreateListenerRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.DescribeListenersRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.ModifyListenerRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.DeleteListenerRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.DeleteLoadBalancerListenersRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.CreateRuleRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.ModifyRuleRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.DeleteRuleRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.RegisterTargetsRequestParams:
		return value(r.LoadBalancerId), len(r.Targets)
	case *api.DeregisterTargetsRequestParams:
		return value(r.LoadBalancerId), len(r.Targets)
	case *api.BatchRegisterTargetsRequestParams:
		return value(r.LoadBalancerId), len(r.Targets)
	case *api.BatchDeregisterTargetsRequestParams:
		return value(r.LoadBalancerId), len(r.Targets)
	case *api.ModifyTargetWeightRequestParams:
		return value(r.LoadBalancerId), len(r.Targets)
	case *api.BatchModifyTargetWeightRequestParams:
		for _, rule := range r.ModifyList {
			if rule != nil {
				targets += len(rule.Targets)
			}
		}
		return value(r.LoadBalancerId), targets
	case *api.BatchModifyTargetTagRequestParams:
		for _, rule := range r.ModifyList {
			if rule != nil {
				targets += len(rule.Targets)
			}
		}
		return value(r.LoadBalancerId), targets
	case *api.DescribeTargetsRequestParams:
		return value(r.LoadBalancerId), 0
	case *api.DescribeTargetHealthRequestParams:
		return first(r.LoadBalancerIds), 0
	}
	return "", 0
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func first(ids []*string) string {
	if len(ids) == 0 {
		return ""
	}
	return value(ids[0])
}
