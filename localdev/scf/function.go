package scf

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tencentyun/scf-go-lib/cloudfunction/messages"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// function is one function with its instances.
type function struct {
	manifest.Function
	server *Server
	peak   atomic.Int64
	events atomic.Int64

	mu   sync.Mutex
	idle []*instance // the one that was busy last is last, and taken first
	size int         // instances, those starting included
	// reserved is the memory that the instances have for themselves, in MB, nil for none.
	reserved *int
}

func (f *function) memoryLimit() int64 { return int64(f.MemoryMB) << 20 }

func (f *function) notePeak(bytes int64) {
	for {
		known := f.peak.Load()
		if bytes <= known || f.peak.CompareAndSwap(known, bytes) {
			return
		}
	}
}

// acquire takes a frozen instance, or starts one while the quota allows.
func (f *function) acquire(ctx context.Context) (in *instance, cold bool, failure *Failure) {
	for {
		in, failure := f.reserve()
		if failure != nil {
			return nil, false, failure
		}
		if in == nil {
			break
		}
		if in.thaw(ctx) {
			return in, false, nil
		}
		f.discard(in)
	}
	in, failure = startInstance(ctx, f)
	if failure != nil {
		f.mu.Lock()
		f.size--
		f.mu.Unlock()
	}
	return in, true, failure
}

// reserve takes an idle instance; without one, nil stands for a place that the caller
// has to fill or give back.
func (f *function) reserve() (*instance, *Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		in := f.idle[n-1]
		f.idle = f.idle[:n-1]
		in.reaper.Stop()
		return in, nil
	}
	limit, quota := f.instances()
	if f.size >= limit {
		return nil, &Failure{
			ErrorMessage: fmt.Sprintf("Function [ %s ] concurrency exceeded %s %d MB", f.Name, quota, limit*f.MemoryMB),
			StatusCode:   StatusConcurrency,
		}
	}
	f.size++
	return nil, nil
}

// release gives an instance back for the next event, or forgets it.
func (f *function) release(in *instance, recycle bool) {
	if recycle || !in.alive() {
		f.discard(in)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	in.reaper = time.AfterFunc(f.server.opts.IdleTimeout, func() { f.retire(in) })
	f.idle = append(f.idle, in)
}

// retire ends an instance that is still idle. It may have been taken while its timer
// fired.
func (f *function) retire(in *instance) {
	f.mu.Lock()
	at := slices.Index(f.idle, in)
	if at >= 0 {
		f.idle = slices.Delete(f.idle, at, at+1)
	}
	f.mu.Unlock()
	if at >= 0 {
		f.discard(in)
	}
}

func (f *function) discard(in *instance) {
	in.end()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size--
}

// drain forgets the idle instances, for the server to end.
func (f *function) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range f.idle {
		in.reaper.Stop()
	}
	f.idle = nil
}

// environ is the whole environment of a process: what SCF documents and what public
// runtimes were seen to read, then the function's own variables. Nothing of this
// process's environment is in it.
func (f *function) environ(port int, code, scratch string) []string {
	env := map[string]string{
		"_LAMBDA_SERVER_PORT": strconv.Itoa(port),
		"_SCF_SERVER_PORT":    "28902",
		"TENCENTCLOUD_RUNENV": "SCF",
		"TENCENTCLOUD_REGION": f.server.opts.Region,
		"TENCENTCLOUD_APPID":  appID,
		"TENCENTCLOUD_UIN":    uin,
		"SCF_FUNCTIONNAME":    f.Name,
		"SCF_FUNCTIONVERSION": version,
		"SCF_NAMESPACE":       f.Namespace,
		"USER_CODE_ROOT":      code + "/",
		"HOME":                scratch,
		"PATH":                "/usr/local/bin:/usr/bin:/bin",
		"PWD":                 code,
		// Instances of the platform have a /tmp of their own each, and clocks in UTC.
		"TMPDIR": scratch,
		"TZ":     "UTC",
	}
	maps.Copy(env, f.Environment)
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}

// request is the event as the runtime gets it, with role credentials of its own.
func (f *function) request(id string, payload []byte, now time.Time) *messages.InvokeRequest {
	role := tc3.Credential{
		SecretID:  "AKID" + rand.Text(),
		SecretKey: rand.Text(),
		Token:     rand.Text() + rand.Text(),
		Principal: f.Name + "/" + id,
		Expires:   now.Add(f.server.opts.CredentialLifetime),
		Policies:  f.server.opts.RolePolicies,
	}
	const pruneEvery = 256
	if f.events.Add(1)%pruneEvery == 0 {
		f.server.opts.Store.Prune(now)
	}
	f.server.opts.Store.Add(role)

	env := map[string]string{
		"TENCENTCLOUD_SECRETID":     role.SecretID,
		"TENCENTCLOUD_SECRETKEY":    role.SecretKey,
		"TENCENTCLOUD_SESSIONTOKEN": role.Token,
	}
	maps.Copy(env, f.Environment)
	// A map of strings always marshals.
	environment, _ := json.Marshal(env)

	region := f.server.opts.Region
	deadline := now.Add(f.Timeout)
	return &messages.InvokeRequest{
		Payload:               payload,
		RequestId:             id,
		TraceId:               id,
		Deadline:              messages.InvokeRequest_Timestamp{Seconds: deadline.Unix(), Nanos: int64(deadline.Nanosecond())},
		InvokedFunctionUnique: resource(region, f.Namespace, f.Name),
		// ClientContext stays empty: the event itself travels as Payload.
		Namespace:          f.Namespace,
		FunctionName:       f.Name,
		FunctionVersion:    version,
		MemoryLimitInMb:    int32(f.MemoryMB),
		TimeLimitInMs:      int32(f.Timeout / time.Millisecond),
		Environment:        string(environment),
		TencentcloudRegion: region,
		TencentcloudAppID:  appID,
		TencentcloudUin:    uin,
		FunctionTrace:      "disable",
	}
}
