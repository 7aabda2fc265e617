package dataplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// defaultExtendedCode is UNIMPLEMENTED: a gRPC server that doesn't know the method lives
// (CLB API, HealthCheck.ExtendedCode).
const defaultExtendedCode = "12"

// probeGRPC calls the method Path with an empty message and judges the answer's status.
func probeGRPC(ctx context.Context, conn net.Conn, scheme string, check Check) bool {
	t := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return conn, conn.(*tls.Conn).HandshakeContext(ctx)
		},
		Protocols: &http.Protocols{},
	}
	t.Protocols.SetHTTP2(scheme == "https")
	t.Protocols.SetUnencryptedHTTP2(scheme == "http")
	// The connection is the caller's to end, this is for the transport's goroutines.
	defer t.CloseIdleConnections()

	path := check.Path
	if path == "" {
		path = "/"
	}
	// A frame of no compression and no length.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://target"+path, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return false
	}
	r.Host = check.Domain
	r.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"clb-healthcheck"},
	}
	response, err := t.RoundTrip(r)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return false
	}
	// An answer without messages has its status in the headers.
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status")
	}
	code, err := strconv.Atoi(status)
	return err == nil && extendedCode(check.ExtendedCode, code)
}

// extendedCode says whether code is in a list of numbers and ranges ("20,25", "0-99").
func extendedCode(list string, code int) bool {
	if list == "" {
		list = defaultExtendedCode
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		low, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		high, err := strconv.Atoi(to)
		if err == nil && low <= code && code <= high {
			return true
		}
	}
	return false
}
