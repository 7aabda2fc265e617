package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadListen(t *testing.T) {
	cases := map[string]struct {
		reason, raw string
		want        []listening
		fails       bool
	}{
		"Default":  {"a web server by default", "", []listening{{"tcp", 80}}, false},
		"Several":  {"several, with space", "tcp:8080, udp:53", []listening{{"tcp", 8080}, {"udp", 53}}, false},
		"Protocol": {"a protocol that there isn't", "sctp:1", nil, true},
		"Port":     {"no port", "tcp", nil, true},
		"Zero":     {"port 0 is none", "tcp:0", nil, true},
		"TooHigh":  {"a port has 16 bits", "tcp:65536", nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readListen(c.raw)
			if (err != nil) != c.fails {
				t.Fatalf("%s: got error %v", c.reason, err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(listening{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestWhoIsFoundInTheMountTable(t *testing.T) {
	const other = "912 866 0:66 / /dev/shm rw,nosuid - tmpfs shm rw\n"
	cases := map[string]struct{ reason, table, uid, container string }{
		"OwnFileSystem": {
			"the kubelet's root is a file system of its own",
			other + "915 866 0:57 /pods/f3a1/containers/app/2623 /dev/termination-log rw,relatime - tmpfs tmpfs rw\n", "f3a1", "app",
		},
		"Below": {
			"it is a folder of another",
			"915 866 8:1 /var/lib/kubelet/pods/f3a1/containers/side-car/2623 /dev/termination-log rw - ext4 /dev/sda1 rw\n" + other, "f3a1", "side-car",
		},
		"None":  {"not in a pod", other, "", ""},
		"Short": {"nothing to read", "915 866\n\n", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			uid, container := mounted(c.table)
			if diff := cmp.Diff([]string{c.uid, c.container}, []string{uid, container}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
