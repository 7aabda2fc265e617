// Package tc3 is what servers speaking Tencent Cloud API v3 have in common: the
// TC3-HMAC-SHA256 signature check, the JSON envelope of answers and errors, and the
// store of the credentials that several emulators share.
//
// It checks signatures and never makes them: clients sign with the vendor's SDK, so
// that both sides of the contract are not the same code.
package tc3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm = "TC3-HMAC-SHA256"
	// maxSkew is how far X-TC-Timestamp may be from the server's clock (API 3.0,
	// "Signature v3").
	maxSkew = 5 * time.Minute
	// unsignedPayload is hashed instead of the body when X-TC-Content-SHA256 says so.
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// Verify checks the signature of r over body as API 3.0 documents it and returns the
// credential it was made with. Any list of signed headers is accepted that has
// content-type and host in it. The error's codes are those of the API's common table:
// AuthFailure.SignatureExpire (clock more than five minutes off),
// AuthFailure.SecretIdNotFound, AuthFailure.SignatureFailure, AuthFailure.TokenFailure
// (token missing, wrong or expired) and AuthFailure.InvalidAuthorization.
func Verify(r *http.Request, body []byte, service string, now time.Time, store *Store) (Credential, *Error) {
	return apiHeaders.verify(r, body, service, now, store)
}

// VerifyURL is Verify for a request to a function URL with CAM authentication, whose
// headers have names of their own (SCF, "Function URL"; seen in clients' code:
// X-Scf-Cam-Uin must be signed. That of a temporary key's token is UNCONFIRMED).
func VerifyURL(r *http.Request, body []byte, now time.Time, store *Store) (Credential, *Error) {
	return urlHeaders.verify(r, body, "scf", now, store)
}

// headerNames are what a protocol calls what it signs with.
type headerNames struct {
	timestamp, token string
	// signed must be among the signed headers.
	signed []string
}

var (
	apiHeaders = headerNames{"X-TC-Timestamp", "X-TC-Token", []string{"content-type", "host"}}
	urlHeaders = headerNames{"X-Scf-Cam-Timestamp", "X-Scf-Cam-Token", []string{"content-type", "host", "x-scf-cam-uin"}}
)

func (h headerNames) verify(r *http.Request, body []byte, service string, now time.Time, store *Store) (Credential, *Error) {
	auth, err := parseAuthorization(r.Header.Get("Authorization"), h.signed)
	if err != nil {
		return Credential{}, err
	}

	stamp := r.Header.Get(h.timestamp)
	seconds, perr := strconv.ParseInt(stamp, 10, 64)
	if perr != nil {
		return Credential{}, errorf("MissingParameter", "The request header %s is missing or is not a Unix time in seconds.", h.timestamp)
	}
	signed := time.Unix(seconds, 0).UTC()
	if skew := now.Add(store.Skew()).Sub(signed); skew > maxSkew || skew < -maxSkew {
		return Credential{}, errorf("AuthFailure.SignatureExpire", "The signature expires: %s %s is more than 5 minutes away from the server time.", h.timestamp, stamp)
	}

	// The scope is checked before the secret is looked up: it tells a client that
	// signs for another service or in local time what is wrong with it.
	if auth.service != service {
		return Credential{}, errorf("AuthFailure.SignatureFailure", "The credential scope names service %q, the request was sent to %q.", auth.service, service)
	}
	if want := signed.Format(time.DateOnly); auth.date != want {
		return Credential{}, errorf("AuthFailure.SignatureFailure", "The credential scope names date %s, %s is of %s (UTC).", auth.date, h.timestamp, want)
	}

	cred, ok := store.Lookup(auth.secretID)
	if !ok {
		return Credential{}, errorf("AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that your SecretId is correct.")
	}
	matches := false
	for _, host := range hosts(r) {
		canonical, err := canonicalRequest(r, host, body, auth.signedHeaders)
		if err != nil {
			return Credential{}, err
		}
		want := signature(cred.SecretKey, stamp, auth.date, service, canonical)
		matches = matches || hmac.Equal([]byte(want), []byte(auth.signature))
	}
	if !matches {
		return Credential{}, errorf("AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct.")
	}

	if cred.Token != r.Header.Get(h.token) {
		return Credential{}, errorf("AuthFailure.TokenFailure", "The token is missing or does not belong to the SecretId.")
	}
	if !cred.Expires.IsZero() && !now.Before(cred.Expires) {
		return Credential{}, errorf("AuthFailure.TokenFailure", "The token has expired at %s.", cred.Expires.UTC().Format(time.RFC3339))
	}
	return cred, nil
}

// authorization is the parsed header of that name.
type authorization struct {
	secretID, date, service string
	signedHeaders           []string
	signature               string
}

func parseAuthorization(header string, required []string) (authorization, *Error) {
	bad := func(what string) (authorization, *Error) {
		return authorization{}, errorf("AuthFailure.InvalidAuthorization", "The request header Authorization is invalid: %s.", what)
	}
	if header == "" {
		return bad("it is missing")
	}
	scheme, rest, _ := strings.Cut(header, " ")
	if scheme != algorithm {
		return bad("the algorithm is not " + algorithm)
	}

	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return bad("it is not a list of key=value")
		}
		fields[key] = value
	}

	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 4 || scope[3] != "tc3_request" {
		return bad("Credential is not SecretId/date/service/tc3_request")
	}
	a := authorization{
		secretID:      scope[0],
		date:          scope[1],
		service:       scope[2],
		signedHeaders: strings.Split(fields["SignedHeaders"], ";"),
		signature:     fields["Signature"],
	}
	for _, name := range required {
		if !slices.Contains(a.signedHeaders, name) {
			return bad("SignedHeaders lacks " + name)
		}
	}
	if a.signature == "" {
		return bad("Signature is missing")
	}
	return a, nil
}

// hosts are what clients sign as the host: the header, or the name in it. Servers of the
// cloud are at the default port, where both are the same.
func hosts(r *http.Request) []string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return []string{r.Host, name}
	}
	return []string{r.Host}
}

// canonicalRequest is what the client signed. The path is always "/" in API 3.0,
// whatever an endpoint with a path makes of the URL.
func canonicalRequest(r *http.Request, host string, body []byte, signedHeaders []string) (string, *Error) {
	var headers strings.Builder
	for _, name := range signedHeaders {
		value := r.Header.Get(name)
		if name == "host" {
			value = host
		}
		if value == "" {
			return "", errorf("AuthFailure.SignatureFailure", "The signed header %s is missing.", name)
		}
		fmt.Fprintf(&headers, "%s:%s\n", strings.ToLower(name), strings.ToLower(strings.TrimSpace(value)))
	}
	if r.Header.Get("X-TC-Content-SHA256") == unsignedPayload {
		body = []byte(unsignedPayload)
	}
	return strings.Join([]string{
		r.Method, "/", r.URL.RawQuery, headers.String(), strings.Join(signedHeaders, ";"), hash(body),
	}, "\n"), nil
}

func signature(secretKey, stamp, date, service, canonical string) string {
	toSign := strings.Join([]string{algorithm, stamp, date + "/" + service + "/tc3_request", hash([]byte(canonical))}, "\n")
	key := sum([]byte("TC3"+secretKey), date)
	key = sum(key, service)
	key = sum(key, "tc3_request")
	return hex.EncodeToString(sum(key, toSign))
}

func sum(key []byte, message string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(message))
	return m.Sum(nil)
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
