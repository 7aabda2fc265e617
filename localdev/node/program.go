package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Process is a program that runs in a container's place.
type Process interface {
	// Signal sends it a signal.
	Signal(os.Signal) error
	// Done is closed when it has ended, ExitCode is good from then on.
	Done() <-chan struct{}
	ExitCode() int
}

// Launch is what a container's program is started with.
type Launch struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	// IP is the pod's address. There are no network namespaces here: who would listen on
	// every address of the pod must listen on this one.
	IP netip.Addr
	// Args are the container's, Env its environment, ConfigMaps, Secrets and fields of the
	// pod resolved as a kubelet does.
	Args, Env []string
}

// Program starts a container's program.
type Program func(Launch) (Process, error)

// started wraps a program for the application in its place.
func (w *worker) started(c *container) func() (Process, error) {
	program := w.fleet.opts.Programs[imageName(c.spec.Image)]
	if program == nil {
		return nil
	}
	return func() (Process, error) {
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		env, err := w.environment(ctx, c.spec)
		if err != nil {
			return nil, err
		}
		return program(Launch{Pod: w.pod.DeepCopy(), Container: c.spec, IP: w.ip, Args: slices.Concat(c.spec.Command, c.spec.Args), Env: env})
	}
}

// environment is a container's: from ConfigMaps and Secrets as a whole, then one by one,
// later ones winning.
func (w *worker) environment(ctx context.Context, c *corev1.Container) ([]string, error) {
	vars := map[string]string{}
	core := w.fleet.client.CoreV1()
	namespace := w.pod.Namespace
	configMap := func(name string) (map[string]string, error) {
		m, err := core.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s: %w", name, err)
		}
		return m.Data, nil
	}
	secret := func(name string) (map[string]string, error) {
		s, err := core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading Secret %s: %w", name, err)
		}
		out := map[string]string{}
		for k, v := range s.Data {
			out[k] = string(v)
		}
		return out, nil
	}
	for _, from := range c.EnvFrom {
		var found map[string]string
		var err error
		switch {
		case from.ConfigMapRef != nil:
			found, err = configMap(from.ConfigMapRef.Name)
		case from.SecretRef != nil:
			found, err = secret(from.SecretRef.Name)
		}
		if err != nil {
			return nil, err
		}
		for k, v := range found {
			vars[from.Prefix+k] = v
		}
	}
	for _, v := range c.Env {
		switch from := v.ValueFrom; {
		case from == nil:
			vars[v.Name] = v.Value
		case from.FieldRef != nil:
			vars[v.Name] = w.field(from.FieldRef.FieldPath)
		case from.ConfigMapKeyRef != nil:
			found, err := configMap(from.ConfigMapKeyRef.Name)
			if err != nil {
				return nil, err
			}
			vars[v.Name] = found[from.ConfigMapKeyRef.Key]
		case from.SecretKeyRef != nil:
			found, err := secret(from.SecretKeyRef.Name)
			if err != nil {
				return nil, err
			}
			vars[v.Name] = found[from.SecretKeyRef.Key]
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, name+"="+vars[name])
	}
	return out, nil
}

// field is one of the pod's that variables may have.
func (w *worker) field(path string) string {
	return map[string]string{
		"metadata.name": w.pod.Name, "metadata.namespace": w.pod.Namespace, "metadata.uid": string(w.uid),
		"spec.nodeName": w.host.name, "spec.serviceAccountName": w.pod.Spec.ServiceAccountName, "status.podIP": w.ip.String(),
	}[path]
}

// runProgram runs a program as the application.
func (a *app) runProgram() error {
	p, err := a.program()
	if err != nil {
		a.exited = true
		a.die()
		return err
	}
	a.process = p
	a.state, a.open = StateReady, true
	go func() {
		<-p.Done()
		code := int32(p.ExitCode())
		if code < 0 {
			code = exitSIGKILL
		}
		a.exit(code, "")
	}()
	return nil
}

// endProgram makes sure that it has ended.
func (a *app) endProgram() {
	_ = a.process.Signal(syscall.SIGKILL) // fails where it has ended
	<-a.process.Done()
}
