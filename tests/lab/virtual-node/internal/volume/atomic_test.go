package volume

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestWriteAtomicSwapsAllFilesAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}, "sub/b": {Data: []byte("2"), Mode: 0o600}}, true)
	first, _ := os.Readlink(filepath.Join(dir, "..data"))
	if got := read(t, dir, "a"); got != "1" {
		t.Fatalf("got %q", got)
	}
	if got := read(t, dir, "sub/b"); got != "2" {
		t.Fatalf("got %q", got)
	}
	if link, _ := os.Readlink(filepath.Join(dir, "sub")); link != "..data/sub" {
		t.Fatalf("got %q", link)
	}
	write(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}, "sub/b": {Data: []byte("2"), Mode: 0o600}}, false)
	write(t, dir, Payload{"a": {Data: []byte("3"), Mode: 0o640}}, true)
	second, _ := os.Readlink(filepath.Join(dir, "..data"))
	if first == second {
		t.Fatal("the link must move")
	}
	if _, err := os.Lstat(filepath.Join(dir, first)); !os.IsNotExist(err) {
		t.Fatalf("the old version must go: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "sub")); !os.IsNotExist(err) {
		t.Fatalf("sub must go: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("got %v %v", info.Mode(), err)
	}
}

func TestWriteAtomicKeepsTheOldContentWhenFinishFails(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, Payload{"a": {Data: []byte("1"), Mode: 0o644}}, true)
	_, err := WriteAtomic(dir, Payload{"a": {Data: []byte("2"), Mode: 0o644}}, func(string) error { return os.ErrPermission })
	if err == nil {
		t.Fatal("want an error")
	}
	if got := read(t, dir, "a"); got != "1" {
		t.Fatalf("got %q", got)
	}
}

func TestWriteAtomicRefusesPathsOutside(t *testing.T) {
	for _, path := range []string{"../a", "/a", "..data", ""} {
		if _, err := WriteAtomic(t.TempDir(), Payload{path: {}}, nil); err == nil {
			t.Errorf("%q must be refused", path)
		}
	}
}

func TestKeysPayload(t *testing.T) {
	mode := int32(0o400)
	secret := &v1.Secret{Data: map[string][]byte{"k": []byte("v")}}
	payload, err := secretPayload(secret, []v1.KeyToPath{{Key: "k", Path: "d/f", Mode: &mode}}, 0o644, false)
	if err != nil || payload["d/f"].Mode != 0o400 || string(payload["d/f"].Data) != "v" {
		t.Fatalf("got %v %v", payload, err)
	}
	if _, err := secretPayload(secret, []v1.KeyToPath{{Key: "x", Path: "x"}}, 0o644, false); err == nil {
		t.Fatal("a missing key must be refused")
	}
	if payload, err := secretPayload(secret, []v1.KeyToPath{{Key: "x", Path: "x"}}, 0o644, true); err != nil || len(payload) != 0 {
		t.Fatalf("got %v %v", payload, err)
	}
}

func write(t *testing.T, dir string, payload Payload, wantChange bool) {
	t.Helper()
	changed, err := WriteAtomic(dir, payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changed != wantChange {
		t.Fatalf("changed: want %v, got %v", wantChange, changed)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
