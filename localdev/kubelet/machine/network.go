package machine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bridgeMAC is a locally administered address.
const bridgeMAC = "0a:58:0a:58:00:01"

// makeLinks makes the bridge and the dummy interface. Ranges and names that are taken are
// left alone and refused.
func (s Spec) makeLinks() error {
	pods, err := netip.ParsePrefix(s.Pods)
	if err != nil {
		return fmt.Errorf("reading the pods' range: %w", err)
	}
	clients, err := netip.ParsePrefix(s.Clients)
	if err != nil {
		return fmt.Errorf("reading the clients' range: %w", err)
	}
	if err := s.free(pods, clients); err != nil {
		return err
	}
	gateway := netip.PrefixFrom(First(pods), pods.Bits())
	for _, args := range [][]string{
		// With an address of its own: else it has the lowest of its ports', and when the pod
		// of that one goes all others send into the void until they have asked again.
		{"link", "add", s.Bridge, "address", bridgeMAC, "type", "bridge"},
		{"link", "set", s.Bridge, "alias", Alias},
		{"addr", "add", gateway.String(), "dev", s.Bridge},
		{"link", "set", s.Bridge, "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	if err := ip("link", "add", s.Dummy, "type", "dummy"); err != nil {
		// A kernel may be built without; a bridge with nothing on it serves as well.
		if err := ip("link", "add", s.Dummy, "type", "bridge"); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"link", "set", s.Dummy, "alias", Alias},
		{"addr", "add", First(clients).String() + "/32", "dev", s.Dummy},
		{"link", "set", s.Dummy, "up"},
		// Every address of the range is this machine's, as all of 127.0.0.0/8 is.
		{"route", "add", "local", clients.Masked().String(), "dev", s.Dummy},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

// First is the first address of a range that a host can have.
func First(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// free refuses names and ranges that somebody else has.
func (s Spec) free(ranges ...netip.Prefix) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("listing network interfaces: %w", err)
	}
	for _, link := range links {
		if link.Name == s.Bridge || link.Name == s.Dummy {
			return fmt.Errorf("there is a network interface %s that is not ours: remove or rename it", link.Name)
		}
		addrs, err := link.Addrs()
		if err != nil {
			continue // it went meanwhile
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			for _, r := range ranges {
				if p.Overlaps(r) {
					return fmt.Errorf("the range %s is taken: network interface %s has %s", r, link.Name, p)
				}
			}
		}
	}
	return nil
}

// sweepLinks removes our interfaces, of this keeper or of one that was killed.
func (s Spec) sweepLinks() error {
	var errs []error
	for _, name := range []string{s.Bridge, s.Dummy} {
		alias, err := os.ReadFile(filepath.Join("/sys/class/net", name, "ifalias"))
		if err != nil || strings.TrimSpace(string(alias)) != Alias {
			continue
		}
		ports, _ := filepath.Glob(filepath.Join("/sys/class/net", name, "brif", "*"))
		errs = append(errs, ip("link", "del", name))
		// The pods' ends went with their namespaces; the kernel takes a while to remove ours.
		for _, port := range ports {
			gone := await(5*time.Second, func() bool {
				_, err := os.Stat(filepath.Join("/sys/class/net", filepath.Base(port)))
				return errors.Is(err, os.ErrNotExist)
			})
			if !gone {
				errs = append(errs, ip("link", "del", filepath.Base(port)))
			}
		}
	}
	return errors.Join(errs...)
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// await polls until done or time is out, and says which.
func await(limit time.Duration, done func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
