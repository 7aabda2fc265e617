package replica

import (
	"fmt"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/infra/forwarder/webhook"
)

// While an uninstall is under way no replica has the webhook match anything; when that is
// taken back, or lasts too long, it does again. The configuration goes with the role.
func testLeaving(t *testing.T, w *world) {
	configurations := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	change := func(edit func(*admissionregistrationv1.MutatingWebhookConfiguration)) {
		t.Helper()
		eventually(t, "a change of the configuration", func() bool {
			c, err := configurations.Get(t.Context(), "clb-direct", metav1.GetOptions{})
			if err != nil {
				return false
			}
			edit(c)
			_, err = configurations.Update(t.Context(), c, metav1.UpdateOptions{})
			return err == nil
		})
	}
	leave := func(since time.Time) {
		change(func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, webhook.Leaving, since.UTC().Format(time.RFC3339))
		})
	}
	gives := func() bool {
		p, err := w.pod(t.Context(), "fast", fmt.Sprint("leave", time.Now().UnixNano()), "web")
		return err == nil && gated(p)
	}
	leave(time.Now())
	eventually(t, "no gate", func() bool { return !w.registered(t, "fast") && !gives() })
	leave(time.Now().Add(-time.Hour))
	eventually(t, "gates, as the uninstall never ended", gives)
	c, err := configurations.Get(t.Context(), "clb-direct", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if owners := c.OwnerReferences; len(owners) != 1 || owners[0].Kind != "ClusterRole" || owners[0].Name != "clb-direct-forwarder" {
		t.Errorf("want the configuration to go with the ClusterRole, it goes with %+v", owners)
	}
}
