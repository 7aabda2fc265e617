package setting

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/clb"
)

// Account reaches the cluster and the CLBs of a stack as a person with all rights
// would.
type Account struct {
	Kube kubernetes.Interface
	api  *clb.Client
}

// NewAccount is the account that s has.
func NewAccount(s *stack.Stack) (*Account, error) {
	cfg := s.Cluster.RESTConfig()
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	a := &Account{}
	var err error
	if a.Kube, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	a.api, err = clb.New(clb.Options{Region: stack.Region, Endpoint: s.Env["CLB_ENDPOINT"], Credentials: func() (string, string, string) {
		return s.Account.SecretID, s.Account.SecretKey, ""
	}})
	return a, err
}

// Unbounded are more CLB calls a second than anybody makes, for what is not to be
// measured by its budget.
func Unbounded() map[string]float64 { return map[string]float64{"*": 1e6} }

// Session begins calls to the CLB API.
func (a *Account) Session() *clb.Session { return a.api.Session(Unbounded(), nil) }

// CreateLoadBalancer makes a CLB through its API, as a user would who names it in an
// annotation, and waits until it is ready.
func (a *Account) CreateLoadBalancer(ctx context.Context, name string) (id string, err error) {
	session := a.Session()
	if id, err = session.CreateLoadBalancer(ctx, clb.LoadBalancerSpec{Name: name, VPCID: stack.VPC, ClientToken: name}); err != nil {
		return "", err
	}
	return id, Await(ctx, "the load balancer", func() (bool, error) {
		lbs, err := session.LoadBalancers(ctx, id)
		return len(lbs) == 1 && lbs[0].Ready, err
	})
}

// CreateNamespace makes a namespace that takes pods.
func (a *Account) CreateNamespace(ctx context.Context, name string) error {
	if _, err := a.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the namespace: %w", err)
	}
	return Await(ctx, "the service account", func() (bool, error) {
		_, err := a.Kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// CreateNodes makes Nodes for so many pods. They are only objects: pods of one that
// isn't there would be collected as orphans.
func (a *Account) CreateNodes(ctx context.Context, pods int) error {
	for i := range (pods + perNode - 1) / perNode {
		_, err := a.Kube.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i * perNode)}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("creating a node: %w", err)
		}
	}
	return nil
}

// CreatePod makes a pod that has been running for an hour.
func (a *Account) CreatePod(ctx context.Context, p Pod) (*corev1.Pod, error) {
	pods := a.Kube.CoreV1().Pods(p.Namespace)
	made, err := pods.Create(ctx, p.object(), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating a pod: %w", err)
	}
	made.Status = p.status(made)
	if made, err = pods.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return nil, fmt.Errorf("writing a pod's status: %w", err)
	}
	return made, nil
}
