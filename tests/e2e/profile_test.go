package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// profileFlag chooses the answers of the CLB to what its sources dispute.
var profileFlag = flag.String("profile", "", "run the tests that depend on this profile of the emulator, under it (clb.Profiles; all: under each)")

// tagged are the tests that depend on a disputed fact, by the profile that has another
// answer to it: they must pass under both. A profile without tests is refused.
var tagged = map[string][]string{
	"async-batch": {
		"TestPodIsBoundEarlyAndRaisedWhenItsContainersAreReady", "TestDeletedPodIsLoweredThenUnbound",
		"TestStrangerIsEvictedThenThePodIsBound", "TestManyPodsAreBoundByFewCalls", "TestPartialFailureIsIsolated",
		"TestDeletedServiceIsReleased", "TestIngressPodIsBoundEarlyRaisedLoweredAndUnbound", "TestRollingUpdateIsPacedByHealth",
	},
	"client-source": {
		"TestClientAddressIsPreserved", "TestIngressForwardsTheClientsAddress", "TestIngressSpeaksHTTP1AndHTTP2",
		"TestRollingUpdateBehindAnIngressFailsNoRequest",
	},
	"keep-unbound": {
		"TestDeletedPodIsLoweredThenUnbound", "TestEndedPodIsUnbound", "TestRollingUpdateIsPacedByHealth",
		"TestRollingUpdateBehindAnIngressFailsNoRequest",
	},
	"name-default": {
		"TestRuleMix", "TestBadRulesNeverStopTheOthers", "TestDefaultBackend", "TestManualRewriteRedirects",
		"TestGroupedIngressesShareAListener", "TestGroupedIngressesLeaveNothing", "TestIngressFollowsItsServices",
		"TestDriftOfRulesIsHealedByTheNextPass", "TestDeletedIngressLeavesNothing",
	},
	"rebind": {
		"TestPodIsBoundEarlyAndRaisedWhenItsContainersAreReady", "TestCustomWeight", "TestStrangerIsEvictedThenThePodIsBound",
		"TestLastAliveStrangerIsAdopted", "TestUntaggedTargetIsAdopted", "TestPodOfIngressesAndAServiceWaitsForAll",
	},
	"refuse-dead": {
		"TestGateOpensWithTKEsWords", "TestRestartedContainerIsLoweredAndRaised", "TestRollingUpdateIsPacedByHealth",
		"TestRollingUpdateBehindAnIngressFailsNoRequest",
	},
	"skip-weight-zero": {
		"TestDeletedPodIsLoweredThenUnbound", "TestCustomWeight", "TestGateOpensWithTKEsWords",
		"TestGateSaysWhatItWaitsFor", "TestRestartedContainerIsLoweredAndRaised", "TestIngressCustomWeight",
		"TestRollingUpdateIsPacedByHealth",
	},
	"unique-backends": {
		"TestServicesShareALoadBalancer", "TestSharedBackendIsE4036", "TestNamedTargetPorts", "TestPodOfSeveralServicesWaitsForAll",
	},
}

// begun are the tests that have begun.
type begun struct {
	mu    sync.Mutex
	names []string
}

func (b *begun) add(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, _, _ = strings.Cut(name, "/")
	b.names = append(b.names, name)
}

// missing are those of want that have not begun.
func (b *begun) missing(want []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(want), func(name string) bool { return slices.Contains(b.names, name) })
}

// narrow has the tests run that depend on the profile, and gives the emulator's options
// under it.
func narrow(name string) (clb.Options, error) {
	var o clb.Options
	if name == "" {
		return o, nil
	}
	p, ok := clb.ProfileByName(name)
	if !ok {
		return o, fmt.Errorf("-profile %s: there is no such profile", name)
	}
	p.Set(&o)
	return o, flag.Set("test.run", "^("+strings.Join(tagged[name], "|")+")$")
}

// each runs this program once for every profile.
func each(ctx context.Context) int {
	var profiles []string
	for _, p := range clb.Profiles() {
		profiles = append(profiles, p.Name)
	}
	if with := slices.Sorted(maps.Keys(tagged)); !slices.Equal(with, slices.Sorted(slices.Values(profiles))) {
		fmt.Fprintf(os.Stderr, "the emulator has the profiles %q, and tests are tagged with %q\n", profiles, with)
		return 1
	}
	code := 0
	for _, name := range profiles {
		began := time.Now()
		cmd := exec.CommandContext(ctx, os.Args[0], append(slices.Clone(os.Args[1:]), "-profile", name)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		result := "passed"
		if err := cmd.Run(); err != nil {
			code, result = 1, err.Error()
		}
		fmt.Printf("── profile %s: %d tests, %s after %.0f s\n", name, len(tagged[name]), result, time.Since(began).Seconds())
	}
	return code
}
