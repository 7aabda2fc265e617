package drain

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
)

// A hold must outlive the replica that has it. A kubelet runs a hook once and takes a
// connection that breaks for its end; but its client, net/http's, repeats a GET of itself
// where the connection breaks before a byte of the answer, if that connection had carried
// another request before (Transport: "may retry a request on another connection"). So the
// first request on a connection is sent to the same address once more, which is over the
// same connection, and only there is it held. When the replica is killed, the client asks
// again, and another one holds. (Seen in v1.37: pkg/kubelet/kubelet.go,
// insecureContainerLifecycleHTTPClient keeps connections, speaks HTTP/1.1 and follows
// redirects within a host, nine at most.)

// mostAgain is how often a hook is sent once more; more than it takes, as another hook may
// have taken the connection. What is still on a new one then is held there.
const mostAgain = 6

// againKey is the query's word for how often it was.
const againKey = "again"

type connectionKey struct{}

// Connection is for http.Server.ConnContext: with it a Gate knows kept connections.
func Connection(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(atomic.Int64))
}

// again answers the first request on a connection, if there may be a second.
func again(w http.ResponseWriter, r *http.Request) bool {
	carried, known := r.Context().Value(connectionKey{}).(*atomic.Int64)
	if !known || r.ProtoMajor != 1 || r.Close || carried.Add(1) > 1 {
		return false
	}
	n, _ := strconv.Atoi(r.URL.Query().Get(againKey)) // what can't be read is none
	if n >= mostAgain {
		return false
	}
	w.Header().Set("Location", r.URL.Path+"?"+againKey+"="+strconv.Itoa(max(n, 0)+1))
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}
