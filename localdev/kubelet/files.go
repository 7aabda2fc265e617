package kubelet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/localdev/kubelet/machine"
)

// containerdConfig leaves nothing where the system's own containerd, if there is one, has
// its things. Version 2 is what 1.6 reads and 2.x converts. Lowering a process's
// oom_score_adj is not permitted everywhere, and every sandbox would fail for it.
const containerdConfig = `version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`

// hostsConfig has all images come from one registry.
const hostsConfig = `server = %[1]q
[host.%[1]q]
  capabilities = ["pull", "resolve"]
`

// busConfig is a system bus that lets everybody in: only the node's processes see it.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`

// cniConfig is the pods' network: a bridge that is their gateway, no translation of
// addresses, so that pods see who asks.
func cniConfig(bridge string, pods netip.Prefix) ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"cniVersion": "0.4.0",
		"name":       "clb-direct",
		"plugins": []map[string]any{{
			"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": false,
			"ipam": map[string]any{
				"type": "host-local", "dataDir": machine.LeasesDir,
				"ranges": [][]map[string]string{{{"subnet": pods.Masked().String()}}},
				"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
			},
		}},
	}, "", "  ")
}

// kubeletConfig is a KubeletConfiguration as little different from the defaults as this
// place allows.
func kubeletConfig(o Options, dir string, address netip.Addr) ([]byte, error) {
	none := "0%"
	return yaml.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"address":    address.String(),
		// Nobody but the API server asks.
		"healthzPort":    0,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": filepath.Join(dir, caFile)}},
		"authorization":  map[string]any{"mode": "Webhook"},
		// cgroups without systemd, of version 1 too, in a place of our own.
		"cgroupDriver": "cgroupfs", "failCgroupV1": false, "cgroupRoot": "/" + o.Cgroup, "enforceNodeAllocatable": []string{"none"},
		"failSwapOn":               false,
		"containerRuntimeEndpoint": "unix://" + machine.ContainerdSocket,
		"clusterDomain":            "cluster.local", "clusterDNS": []string{"10.96.0.10"},
		"resolvConf":             filepath.Join(dir, resolvFile),
		"makeIPTablesUtilChains": false,
		"volumePluginDir":        machine.KubeletRoot + "/volumeplugins",
		// The node's file systems are in memory; what they hold says nothing.
		"localStorageCapacityIsolation": false,
		"evictionHard":                  map[string]string{"memory.available": none, "nodefs.available": none, "nodefs.inodesFree": none, "imagefs.available": none, "imagefs.inodesFree": none},
		"imageGCHighThresholdPercent":   100, "imageGCLowThresholdPercent": 99,
		"maxPods":                         o.PodCapacity,
		"shutdownGracePeriod":             (o.ShutdownGrace + criticalGrace).String(),
		"shutdownGracePeriodCriticalPods": criticalGrace.String(),
	})
}

// The files of the state folder.
const (
	specFile       = "machine.json"
	kubeletFile    = "kubelet.yaml"
	containerdFile = "containerd.toml"
	busFile        = "dbus.conf"
	resolvFile     = "resolv.conf"
	caFile         = "ca.crt"
	cniDir         = "cni"
	hostsDir       = "hosts"
	kubeconfigFile = "kubeconfig"
)

// layOut writes everything but the kubeconfig below dir and returns the spec's path.
func layOut(o Options, dir string, t tools, program, registry string) (string, error) {
	kubelet, err := kubeletConfig(o, dir, machine.First(o.Clients))
	if err != nil {
		return "", fmt.Errorf("encoding the kubelet's configuration: %w", err)
	}
	cni, err := cniConfig(o.Bridge, o.Pods)
	if err != nil {
		return "", fmt.Errorf("encoding the network's configuration: %w", err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	spec, err := json.MarshalIndent(machine.Spec{
		Dir: dir, Bridge: o.Bridge, Dummy: o.Dummy, Cgroup: o.Cgroup,
		Pods: o.Pods.String(), Clients: o.Clients.String(),
		Containerd: t.containerd, ContainerdConfig: at(containerdFile), DBus: t.dbus, DBusConfig: at(busFile),
		WaitSeconds: int(o.Wait.Seconds()),
		Kubelet: []string{program,
			"--config=" + at(kubeletFile), "--kubeconfig=" + at(kubeconfigFile), "--root-dir=" + machine.KubeletRoot,
			"--hostname-override=" + o.Name, "--node-ip=" + machine.First(o.Clients).String(), "--v=2",
		},
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the machine's spec: %w", err)
	}
	for name, data := range map[string][]byte{
		specFile:       spec,
		kubeletFile:    kubelet,
		caFile:         o.Cluster.CA,
		containerdFile: fmt.Appendf(nil, containerdConfig, machine.ContainerdRoot, machine.ContainerdState, machine.ContainerdSocket, PauseImage, at(hostsDir), t.plugins, at(cniDir)),
		busFile:        fmt.Appendf(nil, busConfig, machine.BusSocket),
		filepath.Join(hostsDir, "_default", "hosts.toml"): fmt.Appendf(nil, hostsConfig, registry),
		resolvFile: []byte("# pods here look up no names\n"),
		filepath.Join(cniDir, "10-clb-direct.conflist"): cni,
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			return "", fmt.Errorf("making the state folder: %w", err)
		}
		if err := os.WriteFile(at(name), data, 0o644); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return at(specFile), nil
}
