package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/kubelet"
	"github.com/clb-direct/clb-direct/localdev/node/application"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// namespace is where everything is.
const namespace = "default"

// site is a Service with the Deployments whose pods serve it.
type site struct {
	name string
	// undrained: its containers hear SIGTERM at once.
	undrained bool
	// real and emulated are how many pods it has on the two nodes.
	real, emulated int
	vip            string
}

const serviceYAML = `
apiVersion: cloud.tencent.com/v1alpha1
kind: TkeServiceConfig
metadata: {name: %[1]s}
spec:
  loadBalancer:
    l4Listeners:
    - protocol: TCP
      port: 80
      healthCheck: {enable: true, intervalTime: 2, timeout: 2, healthNum: 2, unHealthNum: 2}
---
apiVersion: v1
kind: Service
metadata:
  name: %[1]s
  annotations:
    service.cloud.tencent.com/direct-access: "true"
    service.cloud.tencent.com/tke-service-config: %[1]s
spec:
  type: LoadBalancer
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 80}]
`

const deploymentYAML = `
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s-%[2]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s, node: %[2]s}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 2}}
  template:
    metadata:
      labels: {app: %[1]s, node: %[2]s}
      annotations:
        tke.cloud.tencent.com/networks: tke-route-eni
        %[4]s
    spec:
      nodeSelector: {kubernetes.io/hostname: %[5]s}
      containers:
      - name: app
        image: %[6]s
        env:
        - {name: JOURNAL, value: %[7]q}
        - {name: READY_DELAY, value: 500ms}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: %[8]s, port: 80}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: %[9]s, port: 80}, periodSeconds: 1, failureThreshold: 1}
`

// objects are a site's.
func (t *theatre) objects(s *site) string {
	text := fmt.Sprintf(serviceYAML, s.name)
	annotation := ""
	if s.undrained {
		annotation = `clb-direct.io/drain-timeout: "0"`
	}
	for _, d := range []struct {
		name, node string
		replicas   int
	}{{"real", t.Kubelet.Name, s.real}, {"emulated", emulatedNode, s.emulated}} {
		if d.replicas > 0 {
			text += fmt.Sprintf(deploymentYAML, s.name, d.name, d.replicas, annotation, d.node,
				kubelet.DefaultImage, t.Kubelet.JournalAddress(), application.ReadyPath, application.LivePath)
		}
	}
	return text
}

// emulatedNode is the name of the only emulated node.
const emulatedNode = "node-1"

// appear applies sites and waits until all their pods are Ready and served.
func (t *theatre) appear(ctx context.Context, sites ...*site) error {
	for _, s := range sites {
		if err := t.Kubectl(ctx, bytes.NewBufferString(t.objects(s)), "apply", "-f", "-"); err != nil {
			return err
		}
	}
	began := time.Now()
	for _, s := range sites {
		if err := t.settle(ctx, s); err != nil {
			return err
		}
		service, err := t.client.CoreV1().Services(namespace).Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the Service: %w", err)
		}
		for _, in := range service.Status.LoadBalancer.Ingress {
			s.vip = in.IP
		}
		if s.vip == "" {
			return fmt.Errorf("the Service %s has no address", s.name)
		}
	}
	t.Say("all pods are Ready after %.1f s", time.Since(began).Seconds())
	return nil
}

// settle waits until a site has all its pods Ready and no others.
func (t *theatre) settle(ctx context.Context, s *site) error {
	last := ""
	err := setting.Await(ctx, "the pods of "+s.name, func() (bool, error) {
		ready, all := t.watch.count(s.name)
		last = fmt.Sprintf("%d of %d pods Ready", ready, all)
		return ready == s.real+s.emulated && all == ready, nil
	})
	if err != nil {
		return fmt.Errorf("%w (%s)", err, last)
	}
	return nil
}
