package setting

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	// PodPort is where all pods answer.
	PodPort = 18080
	// perNode is how many pods there are on a Node: with all of them on one, the
	// scheduler would go through all of them at each pod's change.
	perNode = 100
)

// Pod is one that runs nowhere: an object with the status that a kubelet would write.
type Pod struct {
	// App is its label "app", and what its name begins with.
	Namespace, App, IP string
	// Number is its own, in the cluster; Hash that of its ReplicaSet.
	Number int
	Hash   uint32
	// Gated: it is made with our readiness gate, which is closed.
	Gated bool
}

// nodeName is where pod i runs.
func nodeName(i int) string { return fmt.Sprintf("bench-node-%03d", i/perNode) }

// object is the pod as a Deployment of a real application would make it, some
// kilobytes with what the API server adds, on an ENI.
func (p Pod) object() *corev1.Pod {
	app := p.App
	hash := fmt.Sprintf("%08x", p.Hash)
	var gates []corev1.PodReadinessGate
	if p.Gated {
		gates = append(gates, corev1.PodReadinessGate{ConditionType: model.GateType})
	}
	yes, no, root := true, false, int64(10001)
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP}},
			PeriodSeconds: 5, TimeoutSeconds: 2, FailureThreshold: 3, SuccessThreshold: 1,
		}
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi"),
		"tke.cloud.tencent.com/eni-ip": resource.MustParse("1"),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: fmt.Sprintf("%s-%s-%05d", app, hash, p.Number),
			Labels: map[string]string{
				"app": app, "pod-template-hash": hash, "app.kubernetes.io/version": "v1.42.7",
				"app.kubernetes.io/part-of": "storefront", "team": "payments", "tier": "web",
			},
			Annotations: map[string]string{
				"tke.cloud.tencent.com/networks":        "tke-route-eni",
				"tke.cloud.tencent.com/networks-status": fmt.Sprintf(`[{"name":"tke-route-eni","interface":"eth0","ips":[%q],"mac":"52:54:00:aa:bb:cc","default":true,"dns":{}}]`, p.IP),
				"checksum/config":                       "6f9dbb4a1f1f9a2a2c0c6f0f6b9b6c7a6c0f8d4c5c1a2e3f4a5b6c7d8e9f0a1b",
				"prometheus.io/scrape":                  "true", "prometheus.io/port": "9090", "prometheus.io/path": "/metrics",
			},
		},
		Spec: corev1.PodSpec{
			NodeName: nodeName(p.Number),
			Containers: []corev1.Container{{
				Name: "web", Image: "ccr.ccs.tencentyun.com/storefront/web:v1.42.7",
				Args:      []string{"--listen=:18080", "--metrics=:9090", "--config=/etc/web/config.yaml", "--log-format=json"},
				Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: PodPort, Protocol: corev1.ProtocolTCP}, {Name: "metrics", ContainerPort: 9090, Protocol: corev1.ProtocolTCP}},
				Env:       podEnv(),
				Resources: corev1.ResourceRequirements{Requests: resources, Limits: resources},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "config", MountPath: "/etc/web", ReadOnly: true}, {Name: "tls", MountPath: "/etc/tls", ReadOnly: true}, {Name: "scratch", MountPath: "/tmp"},
				},
				ReadinessProbe: probe("/readyz"), LivenessProbe: probe("/livez"),
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes, RunAsUser: &root},
			}},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: app + "-config"}}}},
				{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: app + "-tls"}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			ReadinessGates: gates,
		},
	}
}

func podEnv() []corev1.EnvVar {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	env := []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP"), field("NODE_NAME", "spec.nodeName")}
	for _, name := range []string{"DATABASE", "CACHE", "QUEUE", "SEARCH", "TRACING", "IDENTITY"} {
		env = append(env,
			corev1.EnvVar{Name: name + "_HOST", Value: name + ".storefront.svc.cluster.local"},
			corev1.EnvVar{Name: name + "_PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "storefront"}, Key: name}}})
	}
	return env
}

// status is what a kubelet would say of made, the pod as the API server has it, if it
// had been running for an hour.
func (p Pod) status(made *corev1.Pod) corev1.PodStatus {
	at := metav1.NewTime(time.Now().Add(-time.Hour))
	condition := func(t corev1.PodConditionType, s corev1.ConditionStatus) corev1.PodCondition {
		return corev1.PodCondition{Type: t, Status: s, LastTransitionTime: at}
	}
	conditions := []corev1.PodCondition{
		condition(corev1.PodReadyToStartContainers, corev1.ConditionTrue), condition(corev1.PodInitialized, corev1.ConditionTrue),
		condition(corev1.PodReady, corev1.ConditionTrue), condition(corev1.ContainersReady, corev1.ConditionTrue),
		condition(corev1.PodScheduled, corev1.ConditionTrue),
	}
	if len(made.Spec.ReadinessGates) > 0 {
		conditions[2].Status = corev1.ConditionFalse
		conditions = append(conditions, corev1.PodCondition{Type: model.GateType, Status: corev1.ConditionFalse, Reason: "Reset", LastTransitionTime: at})
	}
	started := true
	return corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &at, PodIP: p.IP, PodIPs: []corev1.PodIP{{IP: p.IP}},
		HostIP: "127.59.0.1", HostIPs: []corev1.HostIP{{IP: "127.59.0.1"}}, QOSClass: corev1.PodQOSGuaranteed,
		Conditions: conditions,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "web", Ready: true, Started: &started, Image: made.Spec.Containers[0].Image,
			ImageID:     "ccr.ccs.tencentyun.com/storefront/web@sha256:6f9dbb4a1f1f9a2a2c0c6f0f6b9b6c7a6c0f8d4c5c1a2e3f4a5b6c7d8e9f0a1b",
			ContainerID: "containerd://6f9dbb4a1f1f9a2a2c0c6f0f6b9b6c7a6c0f8d4c5c1a2e3f4a5b6c7d8e9f0a1b",
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
		}},
	}
}
