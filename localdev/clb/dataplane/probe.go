package dataplane

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// probe does one health check from source and says whether it passed.
func probe(network string, check Check, source netip.Addr, to netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(context.Background(), check.Timeout)
	defer cancel()
	conn, err := dialFrom(ctx, network, to, source)
	if err != nil {
		return false
	}
	// A check leaves no TIME_WAIT behind: the real one sends RST after the handshake.
	defer reset(conn)
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return false
	}
	switch {
	case network == "udp":
		return probeUDP(conn, check)
	case check.Kind == "HTTP":
		return probeHTTP(conn, check)
	case check.Kind == "HTTPS":
		return probeHTTP(tls.Client(conn, unverified("")), check)
	case check.Kind == "GRPC":
		return probeGRPC(ctx, conn, "http", check)
	case check.Kind == "GRPCS":
		return probeGRPC(ctx, tls.Client(conn, unverified("h2")), "https", check)
	case check.Kind == "CUSTOM":
		return converse(conn, check)
	default:
		return true
	}
}

// probeUDP fails on "port unreachable"; silence is health for PING (CLB, "UDP Health
// Check Exception"), whereas CUSTOM wants its answer.
func probeUDP(conn net.Conn, check Check) bool {
	if check.Kind == "CUSTOM" {
		return converse(conn, check)
	}
	if _, err := conn.Write(nil); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 1))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// converse sends and wants the answer to begin with what is expected.
func converse(conn net.Conn, check Check) bool {
	if _, err := io.WriteString(conn, check.Send); err != nil {
		return false
	}
	got := make([]byte, len(check.Receive))
	if _, err := io.ReadFull(conn, got); err != nil {
		return false
	}
	return string(got) == check.Receive
}

// probeHTTP sends one request and judges the class of the answer's status.
func probeHTTP(conn net.Conn, check Check) bool {
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s %s\r\n", check.Method, check.Path, check.Version)
	fmt.Fprintf(&request, "Host: %s\r\nUser-Agent: clb-healthcheck\r\nConnection: close\r\n\r\n", check.Domain)
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: check.Method})
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	class := resp.StatusCode / 100
	return class >= 1 && class <= 5 && check.Codes&(1<<(class-1)) != 0
}
