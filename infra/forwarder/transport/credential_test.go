package transport

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mount lays out a Secret as the kubelet does, version n of it.
func mount(t *testing.T, dir, version string, keys [3]string) {
	t.Helper()
	at := filepath.Join(dir, ".."+version)
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if k == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(at, KeyFiles[i]), []byte(k+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "..new")
	if err := os.Symlink(".."+version, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestMountedKeysAreReadAgain(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if _, err := NewMounted(dir, log); err == nil {
		t.Error("an empty folder was taken for a credential")
	}
	mount(t, dir, "1", [3]string{"id-1", "key-1", ""})
	m, err := NewMounted(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	get := func() [3]string { id, key, token := m.GetCredential(); return [3]string{id, key, token} }
	if diff := cmp.Diff([3]string{"id-1", "key-1", ""}, get()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	mount(t, dir, "2", [3]string{"id-2", "key-2", "token-2"})
	if diff := cmp.Diff([3]string{"id-2", "key-2", "token-2"}, get()); diff != "" {
		t.Errorf("rotated: -want +got\n%s", diff)
	}
	mount(t, dir, "3", [3]string{"id-3", "", ""})
	if diff := cmp.Diff([3]string{"id-2", "key-2", "token-2"}, get()); diff != "" {
		t.Errorf("half a credential was taken: -want +got\n%s", diff)
	}
}
