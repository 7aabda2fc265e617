package tc3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"
)

// MaxBody is the largest request API 3.0 takes when signed with TC3-HMAC-SHA256, in
// bytes (API 3.0, "Request structure").
const MaxBody = 10 << 20

// Error is an API error: a documented code such as "AuthFailure.TokenFailure" and a
// message for people.
type Error struct {
	Code, Message string
}

// Error makes it an error: "code: message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// NewRequestID makes the id that an answer carries as RequestId.
func NewRequestID() string { return uuid.NewString() }

// ReadBody reads the body of r whole; one above MaxBody is the error
// RequestSizeLimitExceeded.
func ReadBody(r *http.Request) ([]byte, *Error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return nil, errorf("InvalidRequest", "Reading the request body: %v.", err)
	}
	if len(body) > MaxBody {
		return nil, errorf("RequestSizeLimitExceeded", "The request body exceeds 10 MB.")
	}
	return body, nil
}

// WriteResult answers with payload, which must marshal to a JSON object without a
// RequestId of its own (an SDK response struct with that field nil, or nil for an
// empty answer), as {"Response":{...,"RequestId":requestID}}.
func WriteResult(w http.ResponseWriter, requestID string, payload any) {
	inner := []byte("{}")
	if payload != nil {
		var err error
		if inner, err = json.Marshal(payload); err != nil {
			WriteError(w, requestID, errorf("InternalError", "Encoding the answer: %v.", err))
			return
		}
	}
	if len(inner) < 2 || inner[0] != '{' {
		WriteError(w, requestID, errorf("InternalError", "Encoding the answer: %T is not a JSON object.", payload))
		return
	}
	write(w, requestID, inner)
}

// WriteError answers with e as {"Response":{"Error":{...},"RequestId":requestID}}. The
// HTTP status is 200, as it is for every answer of API 3.0.
func WriteError(w http.ResponseWriter, requestID string, e *Error) {
	// Two strings always marshal.
	inner, _ := json.Marshal(struct{ Error *Error }{e})
	write(w, requestID, inner)
}

// write splices the id into the object instead of decoding it again: answers with ten
// thousand targets go through here.
func write(w http.ResponseWriter, requestID string, object []byte) {
	id, _ := json.Marshal(requestID)
	var b bytes.Buffer
	b.Grow(len(object) + len(id) + 32)
	b.WriteString(`{"Response":`)
	b.Write(object[:len(object)-1])
	if len(object) > 2 {
		b.WriteByte(',')
	}
	b.WriteString(`"RequestId":`)
	b.Write(id)
	b.WriteString(`}}`)

	w.Header().Set("Content-Type", "application/json")
	// A client that went away is nobody to report to.
	_, _ = w.Write(b.Bytes())
}
