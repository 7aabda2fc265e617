package lean

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"pgregory.net/rapid"
	"sigs.k8s.io/randfill"

	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// random fills a pod, every field of it, and now and then with what is of interest.
func random(seed uint64) *corev1.Pod {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(s *string, of ...string) { *s = of[r.IntN(len(of))] }
	f := randfill.NewWithSeed(int64(seed)).NilChance(0.3).NumElements(0, 3).MaxDepth(8).Funcs(
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(int64(c.Int31()), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) {
			*t = metav1.NewMicroTime(time.Unix(int64(c.Int31()), 0))
		},
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(int64(c.Int31n(9)), resource.DecimalSI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31()) },
		func(t *corev1.PodConditionType, c randfill.Continue) {
			pick((*string)(t), string(corev1.ContainersReady), model.GateType, model.DrainedType, "Other")
		},
		func(p *corev1.ContainerRestartPolicy, c randfill.Continue) { pick((*string)(p), "Always", "") },
		func(h *corev1.HTTPGetAction, c randfill.Continue) {
			c.FillNoCustom(h)
			pick(&h.Path, model.DrainPath+"x", "/other")
		},
		func(l *corev1.ResourceList, c randfill.Continue) {
			*l = corev1.ResourceList{"cpu": resource.MustParse("1"), "tke.cloud.tencent.com/eni-ip": resource.MustParse("1")}
		},
		func(m *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(m)
			m.Annotations = map[string]string{model.DrainToken: "t", "other": "x"}
		},
	)
	p := &corev1.Pod{}
	f.Fill(p)
	p.TypeMeta = metav1.TypeMeta{}
	if p.Name == "" {
		p.Name = "a"
	}
	return p
}

func encode(t interface{ Fatal(...any) }, o runtime.Object) []byte {
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func newDecoder() *decoder {
	return &decoder{next: protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)}
}

// TestDecodesWhatTrimLeaves: to decode leanly is to decode everything and to trim it.
func TestDecodesWhatTrimLeaves(t *testing.T) {
	d := newDecoder()
	rapid.Check(t, func(rt *rapid.T) {
		p := random(rapid.Uint64().Draw(rt, "seed"))
		p.APIVersion, p.Kind = "v1", "Pod"
		data := encode(rt, p)
		whole, _, err := d.next.Decode(data, nil, nil)
		if err != nil {
			rt.Fatal(err)
		}
		got, _, err := d.Decode(data, nil, nil)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(kube.TrimPod(whole.(*corev1.Pod)), withoutKind(got)); diff != "" {
			rt.Errorf("-want +got\n%s", diff)
		}
	})
}

func withoutKind(o runtime.Object) *corev1.Pod {
	p := o.(*corev1.Pod)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	return p
}

func TestDecodesLists(t *testing.T) {
	l := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "12", Continue: "more"}}
	var want []corev1.Pod
	for i := range uint64(3) {
		p := random(i)
		l.Items = append(l.Items, *p)
		want = append(want, *kube.TrimPod(p.DeepCopy()))
	}
	got, _, err := newDecoder().Decode(encode(t, l), nil, &corev1.PodList{})
	if err != nil {
		t.Fatal(err)
	}
	list := got.(*corev1.PodList)
	if list.Continue != "more" || list.ResourceVersion != "12" {
		t.Errorf("metadata %+v", list.ListMeta)
	}
	if diff := cmp.Diff(want, list.Items, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestKeepsWhatIsNoPod(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     runtime.Object
	}{
		"Bookmark": {"its annotation tells a reflector that it has seen everything", &corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}},
		}},
		"Status": {"an error is an object, too", &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 410, Reason: metav1.StatusReasonExpired}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDecoder()
			data := encode(t, c.in)
			got, _, err := d.Decode(data, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := d.next.Decode(data, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []runtime.Object{got, want} {
				if p, ok := o.(*corev1.Pod); ok {
					withoutKind(p)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

// FuzzDecode: whatever comes, it is decoded as the whole would be or refused.
func FuzzDecode(f *testing.F) {
	p := random(1)
	p.APIVersion, p.Kind = "v1", "Pod"
	f.Add(encode(f, p))
	f.Add([]byte("k8s\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder()
		got, _, err := d.Decode(data, nil, nil)
		if err != nil {
			return
		}
		if _, ok := got.(*corev1.Pod); !ok {
			return
		}
		if whole, _, err := d.next.Decode(data, nil, nil); err == nil {
			if p, ok := whole.(*corev1.Pod); ok && p.Name != "" {
				if diff := cmp.Diff(kube.TrimPod(p).Status.PodIP, withoutKind(got).Status.PodIP); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			}
		}
	})
}
