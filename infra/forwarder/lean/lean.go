// Package lean reads pods off the wire without ever decoding the most of them. A pod of
// a real cluster is 15 kB and more, of which the forwarder needs some hundred bytes; what
// it doesn't need is cut out of the protocol buffer before that is decoded, and becomes
// no garbage either. What comes out is what kube.TrimPod makes of the whole pod.
package lean

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/clb-direct/clb-direct/shared/kube"
)

// prefix begins every object that Kubernetes writes as a protocol buffer
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf).
var prefix = []byte("k8s\x00")

// mask says which fields of a message are kept: nil for all of a field, else what is
// kept inside of it.
type mask map[protowire.Number]mask

// What is kept of a pod: what kube.TrimPod keeps. Field numbers are those of
// k8s.io/api/core/v1/generated.proto and k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto.
var (
	container = mask{
		1: nil, // name
		6: nil, // ports
		8: nil, // resources
		12: {2: { // lifecycle: preStop
			2: nil, // httpGet
		}},
		24: nil, // restartPolicy
	}
	pod = mask{
		1: { // metadata, without ownerReferences, finalizers and managedFields
			1: nil, 2: nil, 3: nil, 4: nil, 5: nil, 6: nil, 7: nil, 8: nil, 9: nil, 10: nil, 11: nil, 12: nil,
		},
		2: { // spec
			2: container, 20: container, // containers, initContainers
			3: nil, 4: nil, 10: nil, 11: nil, 28: nil, // restartPolicy, terminationGracePeriodSeconds, nodeName, hostNetwork, readinessGates
		},
		3: { // status
			1: nil, 2: nil, 6: nil, 7: nil, // phase, conditions, podIP, startTime
			8: {1: nil, 2: {3: {}}, 8: nil}, // containerStatuses: name, state: terminated or not, containerID
		},
	}
	podList = mask{1: nil, 2: pod}
)

// errMalformed is for what is no protocol buffer of an object.
var errMalformed = errors.New("not a protocol buffer of a Kubernetes object")

// filter appends to out what m keeps of the message in.
func (m mask) filter(out, in []byte) ([]byte, error) {
	for len(in) > 0 {
		number, kind, n := protowire.ConsumeTag(in)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, in[n:])
		if size < 0 {
			return nil, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(size))
		}
		field := in[:n+size]
		in = in[n+size:]
		inner, kept := m[number]
		switch {
		case !kept:
		case inner == nil || kind != protowire.BytesType:
			out = append(out, field...)
		default:
			value, _ := protowire.ConsumeBytes(field[n:])
			var err error
			if out, err = inner.nest(out, number, value); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// nest appends the field number with what m keeps of value.
func (m mask) nest(out []byte, number protowire.Number, value []byte) ([]byte, error) {
	// What is kept is at most as long as what there is, so its length takes no more
	// bytes. Written as a longer varint than it needs to be, it needs no second buffer.
	const room = 5
	out = protowire.AppendTag(out, number, protowire.BytesType)
	at := len(out)
	out = append(out, make([]byte, room)...)
	out, err := m.filter(out, value)
	if err != nil {
		return nil, err
	}
	length := len(out) - at - room
	for i := range room {
		out[at+i] = byte(length>>(7*i)) & 0x7f
		if i < room-1 {
			out[at+i] |= 0x80
		}
	}
	return out, nil
}

// buffers hold what is left of an object while it is decoded: the decoder copies.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	return new(make([]byte, 0, 4<<10))
}

// decoder decodes pods and lists of pods leanly, and everything else as next does.
type decoder struct {
	next runtime.Decoder
	buffers
}

// Decode gives a *corev1.Pod or *corev1.PodList of what kube.TrimPod leaves, or what next
// decodes.
func (d *decoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	kind, raw, err := open(data)
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case "v1/Pod":
		p := &corev1.Pod{}
		if to, ok := into.(*corev1.Pod); ok {
			p = to
		}
		if err := d.unmarshal(pod, raw, p); err != nil {
			return nil, nil, fmt.Errorf("decoding a pod: %w", err)
		}
		return keepBookmark(p), new(corev1.SchemeGroupVersion.WithKind("Pod")), nil
	case "v1/PodList":
		l := &corev1.PodList{}
		if to, ok := into.(*corev1.PodList); ok {
			l = to
		}
		if err := d.unmarshal(podList, raw, l); err != nil {
			return nil, nil, fmt.Errorf("decoding a list of pods: %w", err)
		}
		for i := range l.Items {
			kube.TrimPod(&l.Items[i])
		}
		return l, new(corev1.SchemeGroupVersion.WithKind("PodList")), nil
	}
	return d.next.Decode(data, defaults, into)
}

// keepBookmark trims a pod, unless it is a bookmark: that has annotations of its own, by
// which a reflector knows that it has seen everything, and nothing else.
func keepBookmark(p *corev1.Pod) *corev1.Pod {
	if p.Name == "" {
		return p
	}
	return kube.TrimPod(p)
}

func (d *decoder) unmarshal(m mask, raw []byte, into interface{ Unmarshal([]byte) error }) error {
	b := d.get()
	defer d.pool.Put(b)
	kept, err := m.filter((*b)[:0], raw)
	if err != nil {
		return err
	}
	*b = kept
	return into.Unmarshal(kept)
}

// open reads the envelope (k8s.io/apimachinery/pkg/runtime, Unknown: typeMeta = 1 with
// apiVersion = 1 and kind = 2, raw = 2): version and kind, and the object itself.
func open(data []byte) (kind string, raw []byte, err error) {
	data, ok := bytes.CutPrefix(data, prefix)
	if !ok {
		return "", nil, errMalformed
	}
	var meta []byte
	if err := each(data, func(number protowire.Number, value []byte) {
		switch number {
		case 1:
			meta = value
		case 2:
			raw = value
		}
	}); err != nil {
		return "", nil, err
	}
	var version, name []byte
	err = each(meta, func(number protowire.Number, value []byte) {
		switch number {
		case 1:
			version = value
		case 2:
			name = value
		}
	})
	return string(version) + "/" + string(name), raw, err
}

// each calls f for every field of message that has a length.
func each(message []byte, f func(protowire.Number, []byte)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(size))
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			f(number, value)
		}
		message = message[n+size:]
	}
	return nil
}
