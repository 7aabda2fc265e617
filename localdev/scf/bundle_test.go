package scf_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestStartRefusesPackages(t *testing.T) {
	cases := map[string]struct {
		reason string
		mode   fs.FileMode
		names  []string
		want   string
	}{
		"NotExecutable": {"The executable bit has to be in the zip.", 0o644, []string{"main"}, "437 HandlerNotFound: handler main at the root of the package has no executable bit"},
		"NotAtTheRoot":  {"The handler lies at the root.", 0o755, []string{"bin/main"}, "437 HandlerNotFound: handler main at the root of the package is not there"},
		"Directory":     {"It is a file.", 0o755, []string{"main/main"}, "437 HandlerNotFound: handler main at the root of the package is not a regular file"},
		"Escape":        {"No file is written outside of the package's folder.", 0o755, []string{"main", "../evil"}, "../evil"},
		"Twice":         {"No name stands for two files.", 0o755, []string{"main", "main"}, "main: "},
		"Link":          {"Links are not followed.", 0o755 | fs.ModeSymlink, []string{"main"}, "neither file nor directory"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			archive := pack(t, tc.mode, tc.names...)
			t.Setenv("TMPDIR", temp)
			server, err := scf.Start(t.Context(), scf.Options{Package: archive, Manifest: write(t, "serverless.yml", manifest)})
			if err == nil {
				_ = server.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
			left, err := os.ReadDir(temp)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range left {
				if strings.HasPrefix(entry.Name(), "scf-") {
					t.Errorf("%s: left %s behind", tc.reason, entry.Name())
				}
			}
		})
	}
}

func TestUnpackedCodeIsReadOnly(t *testing.T) {
	e := start(t, nil)
	var d described
	e.mustAnswer("plain", `{"do":"context"}`, &d)
	info, err := os.Stat(d.WD + "/main")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != 0o555 {
		t.Errorf("mode %v, want the archive's without writing, -r-xr-xr-x", got)
	}
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	ok := write(t, "serverless.yml", manifest)
	cases := map[string]struct {
		reason string
		opts   scf.Options
		want   string
	}{
		"Manifest": {"Without a manifest nothing is known.", scf.Options{Package: "x.zip", Manifest: "/nonexistent.yml"}, "/nonexistent.yml"},
		"Package":  {"Without a package nothing can run.", scf.Options{Package: "/nonexistent.zip", Manifest: ok}, "unpacking /nonexistent.zip"},
		"Listen":   {"An address has a port.", scf.Options{Package: "x.zip", Manifest: ok, Listen: "127.0.0.1"}, "listen address"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := scf.Start(t.Context(), tc.opts)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
}
