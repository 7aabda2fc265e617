package conformance

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// place is where the suite runs.
var place = environment{
	secretID: os.Getenv("CONFORMANCE_SECRET_ID"), secretKey: os.Getenv("CONFORMANCE_SECRET_KEY"), token: os.Getenv("CONFORMANCE_TOKEN"),
	region: os.Getenv("CONFORMANCE_REGION"), vpc: os.Getenv("CONFORMANCE_VPC"), subnet: os.Getenv("CONFORMANCE_SUBNET"),
	targets: os.Getenv("CONFORMANCE_TARGETS"), function: os.Getenv("CONFORMANCE_FUNCTION"),
	url: os.Getenv("CONFORMANCE_FUNCTION_URL"),
}

type environment struct {
	secretID, secretKey, token, region, vpc, subnet, targets, function, url string
}

// cloud tells that the suite was told to run against the real one.
func (e environment) cloud() bool { return e.secretID != "" }

// validate says what is missing.
func (e environment) validate() error {
	if e.cloud() && (e.secretKey == "" || e.region == "" || e.vpc == "") {
		return errors.New("CONFORMANCE_SECRET_ID is set: CONFORMANCE_SECRET_KEY, CONFORMANCE_REGION and CONFORMANCE_VPC must be too")
	}
	return nil
}

// lacks says why a need isn't met, "" if it is.
func (e environment) lacks(n need) string {
	if !e.cloud() {
		return ""
	}
	switch {
	case n == backends && e.targets == "":
		return "needs backends: set CONFORMANCE_TARGETS"
	case n == subnet && e.subnet == "":
		return "needs a subnet: set CONFORMANCE_SUBNET"
	case n == function && (e.function == "" || e.url == ""):
		return "needs a function: set CONFORMANCE_FUNCTION and CONFORMANCE_FUNCTION_URL"
	case n == rig:
		return "can only be set up on an emulator"
	}
	return ""
}

func TestMain(m *testing.M) {
	if err := place.validate(); err != nil {
		println(err.Error())
		os.Exit(2)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if probeDir, err = os.MkdirTemp("", "conformance-"); err != nil {
		println(err.Error())
		return 1
	}
	defer os.RemoveAll(probeDir)
	return m.Run()
}

// Pace of an emulator: what the documents count in seconds takes a hundredth.
const emulatedSecond = 10 * time.Millisecond

// cloud is where a case runs: an emulator of its own, or the account that was named.
type cloud struct {
	t *testing.T
	*api.Client
	// second is how long a second of a listener's settings takes.
	second time.Duration
	// emulator is nil on the cloud: only cases that need a rig use it.
	emulator *clb.Server
	// store has the credentials that the emulator accepts.
	store *tc3.Store
	pods  byte
}

// newCloud starts an emulator, or reaches the account; it skips the test where that
// lacks what it needs.
func newCloud(t *testing.T, n need, set ...func(*clb.Options)) *cloud {
	t.Helper()
	if why := place.lacks(n); why != "" {
		t.Skip(why)
	}
	c := &cloud{t: t, second: time.Second}
	if place.cloud() {
		c.Client = c.client(place.secretID, place.secretKey, place.token)
		return c
	}
	t.Parallel()
	c.second, c.store = emulatedSecond, &tc3.Store{}
	c.store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester"})
	o := clb.Options{
		Store: c.store, Second: emulatedSecond, Seed: 1,
		Latencies: &clb.Latencies{
			Task: clb.Range{Min: 20 * time.Millisecond, Max: 30 * time.Millisecond},
			Busy: 10 * time.Millisecond,
		},
	}
	for _, f := range set {
		f(&o)
	}
	var err error
	if c.emulator, err = clb.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Client = c.client("id", "key", "")
	return c
}

// region is the one that calls name.
func (c *cloud) region() string { return cmp.Or(place.region, "ap-guangzhou") }

// vpc is the one that load balancers are created in.
func (c *cloud) vpc() string { return cmp.Or(place.vpc, "vpc-conformance") }

// client signs as somebody.
func (c *cloud) client(id, key, token string) *api.Client {
	c.t.Helper()
	p := profile.NewClientProfile()
	if c.emulator != nil {
		p.HttpProfile.Endpoint, p.HttpProfile.Scheme = c.emulator.Endpoint(), "HTTP"
	}
	client, err := api.NewClient(common.NewTokenCredential(id, key, token), c.region(), p)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// code is the API error code of err, "" for none.
func code(err error) string {
	var e *sdkerrors.TencentCloudSDKError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return "not an API error: " + err.Error()
}

// message is the API error message of err, "" for none.
func message(err error) string {
	var e *sdkerrors.TencentCloudSDKError
	if errors.As(err, &e) {
		return e.Message
	}
	return ""
}

// addresses are those of CONFORMANCE_TARGETS.
func (e environment) addresses(t *testing.T) []netip.AddrPort {
	t.Helper()
	var all []netip.AddrPort
	for text := range strings.SplitSeq(e.targets, ",") {
		a, err := netip.ParseAddrPort(strings.TrimSpace(text))
		if err != nil {
			t.Fatalf("reading CONFORMANCE_TARGETS: %v", err)
		}
		all = append(all, a)
	}
	return all
}
