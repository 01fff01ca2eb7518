package volume

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSubPathStaysInsideTheVolume(t *testing.T) {
	base := t.TempDir()
	write(t, base, Payload{"k": {Data: []byte("v"), Mode: 0o644}}, true)
	if err := os.Symlink("/etc", filepath.Join(base, "out")); err != nil {
		t.Fatal(err)
	}
	made, err := resolveSubPath(base, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(made); err != nil || !info.IsDir() {
		t.Fatalf("got %v %v", info, err)
	}
	file, err := resolveSubPath(base, "k")
	if err != nil || filepath.Base(file) != "k" {
		t.Fatalf("got %q %v", file, err)
	}
	for _, bad := range []string{"out", "out/passwd", "out/new/dir"} {
		if got, err := resolveSubPath(base, bad); err == nil {
			t.Errorf("%s must be refused, got %q", bad, got)
		}
	}
}
