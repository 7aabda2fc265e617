package webhook

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clientgotesting "k8s.io/client-go/testing"
)

// TestRegisteredTwice: what the first call didn't give is asked for once more, where the
// API server can tell; an old one is not called twice for every pod.
func TestRegisteredTwice(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		old    bool
		want   []string
	}{
		"Current": {"conditions are known", false, []string{WebhookName, AgainName}},
		"Old":     {"conditions are dropped", true, []string{WebhookName}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			writes := 0
			client.PrependReactor("*", "mutatingwebhookconfigurations", func(action clientgotesting.Action) (bool, runtime.Object, error) {
				if write, ok := action.(interface{ GetObject() runtime.Object }); ok {
					writes++
					c := write.GetObject().(*admissionregistrationv1.MutatingWebhookConfiguration)
					for i := range c.Webhooks {
						if tc.old {
							c.Webhooks[i].MatchConditions = nil
						}
					}
				}
				return false, nil, nil
			})
			r := &Registration{
				Client: client, Name: "clb-direct", URL: "https://127.0.0.1/mutate", Now: time.Now,
				Namespaces: func() []string { return []string{"shop"} }, Leading: func() bool { return true },
			}
			for range 3 {
				if err := r.Ensure(t.Context(), []byte("ca")); err != nil {
					t.Fatal(err)
				}
				r.Forget()
			}
			got, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), "clb-direct", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, w := range got.Webhooks {
				names = append(names, w.Name)
				if want := w.Name == AgainName; want != (len(w.MatchConditions) == 1) {
					t.Errorf("%s has the conditions %+v", w.Name, w.MatchConditions)
				}
				if w.NamespaceSelector.MatchExpressions[0].Values[0] != "shop" || string(w.ClientConfig.CABundle) != "ca" {
					t.Errorf("got %+v", w)
				}
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if most := 2; writes > most {
				t.Errorf("%d writes, want no more than %d", writes, most)
			}
		})
	}
}
