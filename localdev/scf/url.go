package scf

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// urlHandler is the function URL of one function.
type urlHandler struct {
	server   *Server
	function *function
}

// envelope is the event a function gets for a request to its URL ("Function URL",
// document 583/96100). Unlike API Gateway's it has no isBase64Encoded, no request
// context and no path parameters.
type envelope struct {
	Body        string            `json:"body"`
	Headers     map[string]string `json:"headers"`
	HTTPMethod  string            `json:"httpMethod"`
	Path        string            `json:"path"`
	QueryString map[string]string `json:"queryString"`
}

func (h urlHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvent+1))
	if err != nil {
		// The client broke off its request; there is nobody to answer.
		return
	}
	if err := h.permit(r, body); err != nil {
		refuse(w, &Failure{ErrorCode: -1, ErrorMessage: err.Code + ": " + err.Message, RequestID: newRequestID(), StatusCode: StatusUnauthorized})
		return
	}
	var event []byte
	// How the platform passes a body that is not text is not documented. Left invalid,
	// it is refused like any event that isn't JSON.
	if utf8.Valid(body) {
		event = newEnvelope(r, body)
	}
	o := h.server.invoke(h.function, "url", event)
	if o.Lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Scf-Request-Id", o.RequestID)
	if o.Failure == nil && respond(w, o.Answer) {
		return
	}
	if o.Failure == nil {
		o.Failure = &Failure{
			ErrorCode: -1, ErrorMessage: StatusBadResponse.String(), RequestID: o.RequestID, StatusCode: StatusBadResponse,
		}
	}
	refuse(w, o.Failure)
}

// refuse answers a failure. The HTTP status is SCF's own status code; callers were seen to
// get 430 so.
func refuse(w http.ResponseWriter, f *Failure) {
	w.Header().Set("X-Scf-Status", strconv.Itoa(int(f.StatusCode)))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(f.StatusCode))
	_, _ = io.WriteString(w, f.json())
}

// permit asks who signed a request, and whether they may, where the URL wants that.
func (h urlHandler) permit(r *http.Request, body []byte) *tc3.Error {
	if !h.function.CAM {
		return nil
	}
	s := h.server
	cred, err := tc3.VerifyURL(r, body, time.Now(), s.opts.Store)
	if err != nil {
		return err
	}
	return s.authorize(cred, newRequestID(), asks{"InvokeFunctionUrl", h.function.Namespace, h.function.Name})
}

func newEnvelope(r *http.Request, body []byte) []byte {
	e := envelope{
		Body:        string(body),
		Headers:     map[string]string{"host": r.Host},
		HTTPMethod:  r.Method,
		Path:        r.URL.Path,
		QueryString: map[string]string{},
	}
	for name, values := range r.Header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		e.Headers["x-scf-remote-addr"] = host
	}
	for name, values := range r.URL.Query() {
		e.QueryString[name] = strings.Join(values, ",")
	}
	// Strings always marshal.
	b, _ := json.Marshal(e)
	return b
}

// respond maps the function's answer to an HTTP response: an object with a statusCode
// describes it, anything else is the body of a 200. It writes nothing and is false if
// the description can't be followed.
func respond(w http.ResponseWriter, payload []byte) bool {
	var described struct {
		StatusCode json.RawMessage `json:"statusCode"`
		Headers    map[string]any  `json:"headers"`
		Body       string          `json:"body"`
	}
	err := json.Unmarshal(payload, &described)
	if described.StatusCode == nil {
		answer(w, http.StatusOK, "application/json", payload)
		return true
	}
	status, serr := strconv.Atoi(string(described.StatusCode))
	if err != nil || serr != nil || status < 200 || status > 599 {
		return false
	}

	for name, value := range described.Headers {
		if reserved(name) {
			continue
		}
		for _, v := range headerValues(value) {
			w.Header().Add(name, v)
		}
	}
	answer(w, status, orElse(w.Header().Get("Content-Type"), "application/json"), []byte(described.Body))
	return true
}

func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("X-Scf-Status", strconv.Itoa(int(StatusOK)))
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// reserved headers are the platform's to set.
func reserved(name string) bool {
	name = strings.ToLower(name)
	return name == "connection" || name == "content-length" || name == "transfer-encoding" || strings.HasPrefix(name, "x-scf-")
}

// headerValues takes a header's value as one string or a list of them.
func headerValues(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, item := range v {
			list = append(list, headerValues(item)...)
		}
		return list
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case bool:
		return []string{strconv.FormatBool(v)}
	default:
		return nil
	}
}
