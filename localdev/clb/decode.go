package clb

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
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

// summarize says what a request is about, for the call log: requests name load balancers
// and targets alike (CLB API).
func summarize(request any) (loadBalancer string, targets int) {
	r := reflect.ValueOf(request).Elem()
	if one, found := field[*string](r, "LoadBalancerId"); found {
		loadBalancer = value(one)
	}
	if several, found := field[[]*string](r, "LoadBalancerIds"); found {
		loadBalancer = first(several)
	}
	if list := r.FieldByName("Targets"); list.IsValid() {
		targets = list.Len()
	}
	if list := r.FieldByName("ModifyList"); list.IsValid() {
		for i := range list.Len() {
			if rule := list.Index(i); !rule.IsNil() {
				targets += rule.Elem().FieldByName("Targets").Len()
			}
		}
	}
	return loadBalancer, targets
}

// field reads a field of a request, if it has one of that name and type.
func field[T any](request reflect.Value, name string) (T, bool) {
	f := request.FieldByName(name)
	if !f.IsValid() {
		var none T
		return none, false
	}
	v, found := f.Interface().(T)
	return v, found
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
