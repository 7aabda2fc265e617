package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// port is where an application listens.
type port struct {
	number   int32
	protocol corev1.Protocol
}

// listenPorts returns where a container's application listens: the ports that
// it declares and that its probes look at, and those its image is known for.
func listenPorts(c *corev1.Container, imagePorts map[string][]int32) []port {
	var ports []port
	for _, p := range c.Ports {
		protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
		if protocol == corev1.ProtocolTCP || protocol == corev1.ProtocolUDP {
			ports = append(ports, port{p.ContainerPort, protocol})
		}
	}
	for _, kind := range probeKinds {
		probe := kind.of(c)
		if probe == nil || elsewhere(probe) {
			continue
		}
		if n, err := probedPort(probe, c); err == nil {
			ports = append(ports, port{n, corev1.ProtocolTCP})
		}
	}
	for _, n := range imagePorts[imageName(c.Image)] {
		ports = append(ports, port{n, corev1.ProtocolTCP})
	}
	slices.SortFunc(ports, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.protocol, b.protocol))
	})
	return slices.Compact(ports)
}

// elsewhere says whether a probe looks at another host than the pod.
func elsewhere(p *corev1.Probe) bool {
	return p.HTTPGet != nil && p.HTTPGet.Host != "" || p.TCPSocket != nil && p.TCPSocket.Host != ""
}

// probedPort returns the port that a probe looks at; an error if it looks at
// none, as an exec probe.
func probedPort(p *corev1.Probe, c *corev1.Container) (int32, error) {
	switch {
	case p.HTTPGet != nil:
		return resolvePort(p.HTTPGet.Port, c)
	case p.TCPSocket != nil:
		return resolvePort(p.TCPSocket.Port, c)
	case p.GRPC != nil:
		return p.GRPC.Port, nil
	}
	return 0, fmt.Errorf("no port to look at")
}

// resolvePort turns a port's name into its number by the container's
// declarations.
func resolvePort(p intstr.IntOrString, c *corev1.Container) (int32, error) {
	if p.Type == intstr.Int {
		return p.IntVal, nil
	}
	for _, declared := range c.Ports {
		if declared.Name == p.StrVal {
			return declared.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("couldn't find port: %q in container %s", p.StrVal, c.Name)
}

// imageName is an image's name without registry, path, tag and digest.
func imageName(image string) string {
	name := image[strings.LastIndexByte(image, '/')+1:]
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	return name
}
