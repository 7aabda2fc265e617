package main

import (
	"cmp"
	"encoding/json"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// namespaceFile is where the kubelet mounts the namespace beside the pod's token.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// whoAmI says which pod and container this is: by the downward API where the pod uses it,
// else by what the kubelet mounts into every container.
func whoAmI() (self application.Answer, container string) {
	raw, _ := os.ReadFile("/proc/self/mountinfo")
	uid, container := mounted(string(raw))
	host, _ := os.Hostname()
	namespace, _ := os.ReadFile(namespaceFile)
	return application.Answer{
		Pod:         cmp.Or(os.Getenv("POD_NAME"), host),
		Namespace:   cmp.Or(os.Getenv("POD_NAMESPACE"), strings.TrimSpace(string(namespace))),
		UID:         cmp.Or(os.Getenv("POD_UID"), uid),
		Node:        os.Getenv("NODE_NAME"),
		ContainerID: containerID(),
	}, container
}

// mounted finds pod and container in a mount table (proc(5), mountinfo): the kubelet mounts
// <root>/pods/<uid>/containers/<name>/<n> at /dev/termination-log.
func mounted(table string) (uid, container string) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[4] != "/dev/termination-log" {
			continue
		}
		words := strings.Split(fields[3], "/")
		for i := range words {
			if words[i] == "pods" && i+3 < len(words) && words[i+2] == "containers" {
				return words[i+1], words[i+3]
			}
		}
	}
	return "", ""
}

// containerID is the last part of the cgroup's path, where that can be seen.
func containerID() string {
	raw, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(raw)) {
		if id := path.Base(strings.TrimSpace(line)); len(id) == 64 {
			return "containerd://" + id
		}
	}
	return ""
}

// journal tells what happens to this process over one connection; nil tells nobody.
type journal struct {
	conn net.Conn
	note application.Note
}

func openJournal(at string, note application.Note) *journal {
	if at == "" {
		return nil
	}
	conn, err := net.DialTimeout("tcp", at, 5*time.Second)
	if err != nil {
		return nil // who reads it sees that something is missing
	}
	return &journal{conn, note}
}

func (j *journal) say(what string) {
	if j == nil {
		return
	}
	note := j.note
	note.What, note.At = what, time.Now()
	if raw, err := json.Marshal(note); err == nil {
		_, _ = j.conn.Write(append(raw, '\n'))
	}
}
