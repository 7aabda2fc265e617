package manual

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	text := strings.ReplaceAll(`# A page

Say ~make help~, or ~make x
y~, a ~Service~ and ~kubectl get pods -o wide~.

## First

~~~sh test=up
make one   # comment
helm upgrade a \
  --set b=c \
  --set d=e

~~~

* a list

  ~~~yaml test=lifecycle
  kind: Service
    metadata: {}
  ~~~
`, "~", "`")
	m := Manual{"docs/a.md": text}
	want := []Block{
		{Page: "docs/a.md", Heading: "First", Info: "sh test=up", Text: "make one   # comment\nhelm upgrade a \\\n  --set b=c \\\n  --set d=e\n\n"},
		{Page: "docs/a.md", Heading: "First", Info: "yaml test=lifecycle", Text: "kind: Service\n  metadata: {}\n"},
	}
	if diff := cmp.Diff(want, m.Blocks()); diff != "" {
		t.Errorf("blocks, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"make one", "helm upgrade a --set b=c --set d=e"}, want[0].Lines()); diff != "" {
		t.Errorf("lines, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"make help": {"docs/a.md"}, "make x y": {"docs/a.md"}, "kubectl get pods -o wide": {"docs/a.md"}}, m.Inline()); diff != "" {
		t.Errorf("commands in the text, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], m.By("lifecycle")); diff != "" {
		t.Errorf("by lifecycle, -want +got:\n%s", diff)
	}
	if !want[0].Shell() || want[1].Shell() {
		t.Errorf("the first is one of commands, the second isn't")
	}
}
