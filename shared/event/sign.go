package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// The headers that authenticate a function URL request. The platform lower-cases
// header names, and so do we.
const (
	headerPrefix    = "x-clb-direct-"
	TimestampHeader = headerPrefix + "timestamp"
	SignatureHeader = headerPrefix + "signature"
)

// MaxSkew is how old, or how far in the future, a signed request may be. Five
// minutes, as Tencent's own TC3 signature allows.
const MaxSkew = 5 * time.Minute

// Sign gives the two headers that prove knowledge of secret for body, sent at now.
// The secret itself never travels, and a captured request is worthless once it
// has aged: an event replayed before that only says where to look again.
func Sign(secret, body string, now time.Time) map[string]string {
	ts := strconv.FormatInt(now.Unix(), 10)
	return map[string]string{TimestampHeader: ts, SignatureHeader: "v1=" + signature(secret, ts, body)}
}

// Verify checks what Sign made. Errors are Invalid and name the header.
func Verify(secret string, headers map[string]string, body string, now time.Time) error {
	if secret == "" {
		return fault.Invalidf("EVENT_SECRET", "is not configured, so function URL requests can't be told from anybody else's")
	}
	ts := headers[TimestampHeader]
	sec, err := strconv.ParseInt(ts, 10, 64)
	if err != nil {
		return fault.Invalidf(TimestampHeader, "is missing or not a Unix time")
	}
	if skew := now.Sub(time.Unix(sec, 0)); skew > MaxSkew || skew < -MaxSkew {
		return fault.Invalidf(TimestampHeader, "is more than %s away from now", MaxSkew)
	}
	if !hmac.Equal([]byte(headers[SignatureHeader]), []byte("v1="+signature(secret, ts, body))) {
		return fault.Invalidf(SignatureHeader, "does not match")
	}
	return nil
}

func signature(secret, ts, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(ts))
	mac.Write([]byte{'.'})
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}
