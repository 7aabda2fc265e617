package tc3_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tcerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	scf "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// The worked example of the API documentation ("Signature v3"). Its secrets are
// printed there as asterisks, and the signature is over just these.
const (
	vectorID     = "AKID********************************"
	vectorKey    = "********************************"
	vectorBody   = `{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`
	vectorHeader = "TC3-HMAC-SHA256 Credential=" + vectorID + "/2019-02-25/cvm/tc3_request, " +
		"SignedHeaders=content-type;host;x-tc-action, " +
		"Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"
	vectorStamp = 1551113065
)

func vectorRequest() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://cvm.tencentcloudapi.com/", strings.NewReader(vectorBody))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("X-TC-Action", "DescribeInstances")
	r.Header.Set("X-TC-Timestamp", "1551113065")
	r.Header.Set("Authorization", vectorHeader)
	return r
}

func TestVerifyDocumentedExample(t *testing.T) {
	signed := time.Unix(vectorStamp, 0)
	cases := map[string]struct {
		reason  string
		change  func(*http.Request)
		body    string
		service string
		now     time.Time
		want    string // error code
	}{
		"AsPrinted": {
			reason: "The documented signature verifies, with the extra signed header in lower case.",
		},
		"Skew": {
			reason: "Exactly five minutes are still allowed.",
			now:    signed.Add(5 * time.Minute),
		},
		"TooLate": {
			reason: "A request more than five minutes old is refused.",
			now:    signed.Add(5*time.Minute + time.Second),
			want:   "AuthFailure.SignatureExpire",
		},
		"TooEarly": {
			reason: "So is one from the future.",
			now:    signed.Add(-6 * time.Minute),
			want:   "AuthFailure.SignatureExpire",
		},
		"OtherBody": {
			reason: "The body is signed.",
			body:   `{}`,
			want:   "AuthFailure.SignatureFailure",
		},
		"OtherAction": {
			reason: "A header in the signed list is signed.",
			change: func(r *http.Request) { r.Header.Set("X-TC-Action", "TerminateInstances") },
			want:   "AuthFailure.SignatureFailure",
		},
		"SignedHeaderMissing": {
			reason: "A header in the signed list has to be there.",
			change: func(r *http.Request) { r.Header.Del("X-TC-Action") },
			want:   "AuthFailure.SignatureFailure",
		},
		"OtherHost": {
			reason: "The host is signed.",
			change: func(r *http.Request) { r.Host = "clb.tencentcloudapi.com" },
			want:   "AuthFailure.SignatureFailure",
		},
		"Port": {
			reason: "Some clients sign the name alone and send the port with it.",
			change: func(r *http.Request) { r.Host += ":8080" },
		},
		"OtherHostWithPort": {
			reason: "The name is signed all the same.",
			change: func(r *http.Request) { r.Host = "clb.tencentcloudapi.com:8080" },
			want:   "AuthFailure.SignatureFailure",
		},
		"Query": {
			reason: "The query is signed.",
			change: func(r *http.Request) { r.URL.RawQuery = "Limit=2" },
			want:   "AuthFailure.SignatureFailure",
		},
		"OtherService": {
			reason:  "The scope names one service.",
			service: "clb",
			want:    "AuthFailure.SignatureFailure",
		},
		"OtherDate": {
			reason: "The scope's date is the timestamp's, in UTC.",
			change: replaceAuth("2019-02-25", "2019-02-26"),
			want:   "AuthFailure.SignatureFailure",
		},
		"UnknownID": {
			reason: "Nobody has that SecretId.",
			change: replaceAuth("AKID*", "AKIDx"),
			want:   "AuthFailure.SecretIdNotFound",
		},
		"StrayToken": {
			reason: "A permanent key pair has no token.",
			change: func(r *http.Request) { r.Header.Set("X-TC-Token", "t") },
			want:   "AuthFailure.TokenFailure",
		},
		"NoTimestamp": {
			reason: "Without a timestamp nothing can be checked.",
			change: func(r *http.Request) { r.Header.Del("X-TC-Timestamp") },
			want:   "MissingParameter",
		},
		"NoAuthorization": {
			reason: "An unsigned request is refused.",
			change: func(r *http.Request) { r.Header.Del("Authorization") },
			want:   "AuthFailure.InvalidAuthorization",
		},
		"OtherAlgorithm": {
			reason: "The older algorithms are not offered.",
			change: replaceAuth("TC3-HMAC-SHA256", "HmacSHA1"),
			want:   "AuthFailure.InvalidAuthorization",
		},
		"HostUnsigned": {
			reason: "content-type and host must be in the list.",
			change: replaceAuth("content-type;host;", "content-type;"),
			want:   "AuthFailure.InvalidAuthorization",
		},
		"ShortScope": {
			reason: "The scope has four parts.",
			change: replaceAuth("/tc3_request", ""),
			want:   "AuthFailure.InvalidAuthorization",
		},
		"NoSignature": {
			reason: "An empty signature is none.",
			change: func(r *http.Request) {
				head, _, _ := strings.Cut(vectorHeader, "Signature=")
				r.Header.Set("Authorization", head+"Signature=")
			},
			want: "AuthFailure.InvalidAuthorization",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			store := &tc3.Store{}
			store.Add(tc3.Credential{SecretID: vectorID, SecretKey: vectorKey, Principal: "docs"})
			r := vectorRequest()
			if tc.change != nil {
				tc.change(r)
			}
			body, service, now := vectorBody, "cvm", signed
			if tc.body != "" {
				body = tc.body
			}
			if tc.service != "" {
				service = tc.service
			}
			if !tc.now.IsZero() {
				now = tc.now
			}

			cred, err := tc3.Verify(r, []byte(body), service, now, store)
			got := ""
			if err != nil {
				got = err.Code
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			if tc.want == "" && cred.Principal != "docs" {
				t.Errorf("%s: principal %q, want docs", tc.reason, cred.Principal)
			}
		})
	}
}

func replaceAuth(old, replacement string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(vectorHeader, old, replacement, 1))
	}
}

// TestVerifySDK lets the vendor's client sign, and read both kinds of answer.
func TestVerifySDK(t *testing.T) {
	now := time.Now()
	cases := map[string]struct {
		reason   string
		stored   tc3.Credential
		sign     *common.Credential
		unsigned bool
		want     string // error code
	}{
		"KeyPair": {
			reason: "A permanent key pair signs without a token.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k"},
			sign:   common.NewCredential("AKIDa", "k"),
		},
		"Token": {
			reason: "A temporary one with its token.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k", Token: "t", Expires: now.Add(time.Hour)},
			sign:   common.NewTokenCredential("AKIDa", "k", "t"),
		},
		"UnsignedPayload": {
			reason:   "The body may be left out of the signature when the header says so.",
			stored:   tc3.Credential{SecretID: "AKIDa", SecretKey: "k"},
			sign:     common.NewCredential("AKIDa", "k"),
			unsigned: true,
		},
		"WrongKey": {
			reason: "The secret key decides.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k"},
			sign:   common.NewCredential("AKIDa", "other"),
			want:   "AuthFailure.SignatureFailure",
		},
		"TokenMissing": {
			reason: "Temporary keys are worth nothing without their token.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k", Token: "t", Expires: now.Add(time.Hour)},
			sign:   common.NewCredential("AKIDa", "k"),
			want:   "AuthFailure.TokenFailure",
		},
		"TokenWrong": {
			reason: "Nor with that of the event before.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k", Token: "t", Expires: now.Add(time.Hour)},
			sign:   common.NewTokenCredential("AKIDa", "k", "u"),
			want:   "AuthFailure.TokenFailure",
		},
		"Expired": {
			reason: "A credential ends.",
			stored: tc3.Credential{SecretID: "AKIDa", SecretKey: "k", Token: "t", Expires: now.Add(-time.Second)},
			sign:   common.NewTokenCredential("AKIDa", "k", "t"),
			want:   "AuthFailure.TokenFailure",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			store := &tc3.Store{}
			store.Add(tc.stored)
			const id = "11111111-2222-3333-4444-555555555555"
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := tc3.ReadBody(r)
				if err == nil {
					_, err = tc3.Verify(r, body, "scf", now, store)
				}
				if err != nil {
					tc3.WriteError(w, id, err)
					return
				}
				message := "hello"
				tc3.WriteResult(w, id, scf.InvokeFunctionResponseParams{Result: &scf.Result{RetMsg: &message}})
			}))
			defer server.Close()

			p := profile.NewClientProfile()
			p.HttpProfile.Scheme = "HTTP"
			p.HttpProfile.Endpoint = server.Listener.Addr().String()
			p.UnsignedPayload = tc.unsigned
			client, err := scf.NewClient(tc.sign, "ap-guangzhou", p)
			if err != nil {
				t.Fatal(err)
			}
			request := scf.NewInvokeFunctionRequest()
			request.FunctionName = common.StringPtr("f")
			answer, err := client.InvokeFunctionWithContext(context.Background(), request)

			if tc.want == "" {
				if err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
				got := []string{*answer.Response.RequestId, *answer.Response.Result.RetMsg}
				if diff := cmp.Diff([]string{id, "hello"}, got); diff != "" {
					t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
				}
				return
			}
			var sdkErr *tcerrors.TencentCloudSDKError
			if !errors.As(err, &sdkErr) {
				t.Fatalf("%s: got %v, want an SDK error", tc.reason, err)
			}
			if diff := cmp.Diff([]string{tc.want, id}, []string{sdkErr.Code, sdkErr.RequestId}); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWriteResult(t *testing.T) {
	cases := map[string]struct {
		reason  string
		payload any
		want    map[string]any
	}{
		"Empty": {
			reason: "An answer may have nothing but its id.",
			want:   map[string]any{"RequestId": "r"},
		},
		"EmptyStruct": {
			reason:  "A struct without a set field is the same.",
			payload: scf.InvokeFunctionResponseParams{},
			want:    map[string]any{"RequestId": "r"},
		},
		"Fields": {
			reason:  "Fields stand beside the id.",
			payload: map[string]int{"Total": 1},
			want:    map[string]any{"RequestId": "r", "Total": 1.0},
		},
		"NotAnObject": {
			reason:  "What can't be an answer is an internal error, not broken JSON.",
			payload: []int{1},
			want: map[string]any{"RequestId": "r", "Error": map[string]any{
				"Code": "InternalError", "Message": "Encoding the answer: []int is not a JSON object.",
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			tc3.WriteResult(w, "r", tc.payload)
			var got struct{ Response map[string]any }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v in %s", tc.reason, err, w.Body)
			}
			if diff := cmp.Diff(tc.want, got.Response); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReadBodyLimit(t *testing.T) {
	fits := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("a", tc3.MaxBody)))
	if _, err := tc3.ReadBody(fits); err != nil {
		t.Errorf("a body of 10 MB: %v", err)
	}
	over := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("a", tc3.MaxBody+1)))
	if _, err := tc3.ReadBody(over); err == nil || err.Code != "RequestSizeLimitExceeded" {
		t.Errorf("a larger body: got %v, want RequestSizeLimitExceeded", err)
	}
}

func TestStorePrune(t *testing.T) {
	now := time.Unix(1000, 0)
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "permanent"})
	store.Add(tc3.Credential{SecretID: "old", Expires: now.Add(-time.Second)})
	store.Add(tc3.Credential{SecretID: "current", Expires: now})
	store.Prune(now)

	got := map[string]bool{}
	for _, id := range []string{"permanent", "old", "current"} {
		_, got[id] = store.Lookup(id)
	}
	if diff := cmp.Diff(map[string]bool{"permanent": true, "old": false, "current": true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	store.Remove("permanent")
	if _, ok := store.Lookup("permanent"); ok {
		t.Error("a removed credential is still found")
	}
}
