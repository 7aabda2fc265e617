package event

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// urlResponse is how an event function answers a function URL request (583/96099).
type urlResponse struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
}

// Answer gives replies the shape of the delivery: one event or a batch, bare or as
// an HTTP response.
func (d Delivery) Answer(replies []event.Event) ([]byte, error) {
	var body []byte
	var err error
	contentType := ContentType
	if d.Batch {
		contentType = BatchContentType
		body, err = json.Marshal(replies)
	} else {
		body, err = json.Marshal(replies[0])
	}
	if err != nil || d.Envelope != FunctionURL {
		return body, err
	}
	return json.Marshal(urlResponse{StatusCode: 200, Headers: map[string]string{"content-type": contentType}, Body: string(body)})
}

// RejectURL answers a function URL request that was refused: 401 for its
// signature, 400 for everything else, with the field at fault in the body.
func RejectURL(err error) ([]byte, error) {
	status := 400
	failure := Failure{Kind: fault.Invalid, Message: err.Error()}
	var e *fault.Error
	if errors.As(err, &e) {
		failure.Field = e.Field
	}
	if strings.HasPrefix(failure.Field, headerPrefix) || failure.Field == "EVENT_SECRET" {
		status = 401
	}
	body, merr := json.Marshal(map[string]any{"failure": failure})
	if merr != nil {
		return nil, merr
	}
	return json.Marshal(urlResponse{StatusCode: status, Headers: map[string]string{"content-type": "application/json"}, Body: string(body)})
}
