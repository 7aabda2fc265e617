package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// The keys of the Secret.
const (
	keyAuthority    = "ca.crt"
	keyAuthorityKey = "ca.key"
)

// Keeper keeps the certificates in a Secret that all replicas share: made if it is
// not there, renewed in time by whoever finds it due.
type Keeper struct {
	Client          kubernetes.Interface
	Namespace, Name string
	// Hosts the certificate must be good for, the first of them its name.
	Hosts []string
	Now   func() time.Time

	serving atomic.Pointer[tls.Certificate]
}

// Load makes sure of the Secret and returns what it holds. What is served changes
// only with Serve.
func (k *Keeper) Load(ctx context.Context) (Material, error) {
	for range 5 {
		m, err := k.load(ctx)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return m, err
		}
	}
	return Material{}, errors.New("keeping the certificate: others change the Secret all the time")
}

// Serve has TLS handshakes from now on answered with m.
func (k *Keeper) Serve(m Material) error {
	c, err := m.Certificate()
	if err != nil {
		return err
	}
	k.serving.Store(&c)
	return nil
}

// Ready tells whether there is a certificate to serve with.
func (k *Keeper) Ready() bool { return k.serving.Load() != nil }

// TLS is the server's side.
func (k *Keeper) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := k.serving.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("no certificate yet")
		},
	}
}

func (k *Keeper) load(ctx context.Context) (Material, error) {
	secrets := k.Client.CoreV1().Secrets(k.Namespace)
	secret, err := secrets.Get(ctx, k.Name, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return Material{}, fmt.Errorf("reading Secret %s/%s: %w", k.Namespace, k.Name, err)
	}
	if missing {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name}, Type: corev1.SecretTypeTLS}
	}
	m, changed, err := Material{
		Authority:    secret.Data[keyAuthority],
		AuthorityKey: secret.Data[keyAuthorityKey],
		Serving:      secret.Data[corev1.TLSCertKey],
		ServingKey:   secret.Data[corev1.TLSPrivateKeyKey],
	}.Renew(k.Hosts, k.Now())
	if err != nil || !changed {
		return m, err
	}
	secret.Data = map[string][]byte{
		keyAuthority: m.Authority, keyAuthorityKey: m.AuthorityKey,
		corev1.TLSCertKey: m.Serving, corev1.TLSPrivateKeyKey: m.ServingKey,
	}
	if missing {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return m, fmt.Errorf("writing Secret %s/%s: %w", k.Namespace, k.Name, err)
	}
	return m, nil
}
