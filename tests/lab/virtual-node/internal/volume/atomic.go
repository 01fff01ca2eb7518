package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	dataLink    = "..data"
	dataLinkNew = "..data_tmp"
)

// WriteAtomic makes dir show exactly the payload: every file appears through the symlink "..data",
// which is swapped by one rename, so a reader sees all of the old or all of the new content
// (kubernetes/kubernetes:pkg/volume/util/atomic_writer.go). finish is called on the new directory
// before the swap. It answers false where the content held already.
func WriteAtomic(dir string, payload Payload, finish func(string) error) (bool, error) {
	for path := range payload {
		if !filepath.IsLocal(path) || strings.HasPrefix(path, "..") {
			return false, fmt.Errorf("volume file %q: the path must be relative and inside the volume", path)
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if old != "" {
		same, err := holds(filepath.Join(dir, old), payload)
		if err != nil {
			return false, err
		}
		if same {
			return false, nil
		}
	}
	fresh, err := writeFresh(dir, payload)
	if err != nil {
		return false, err
	}
	if finish != nil {
		if err := finish(fresh); err != nil {
			return false, err
		}
	}
	if err := swap(dir, filepath.Base(fresh)); err != nil {
		return false, err
	}
	if err := linkVisible(dir, payload); err != nil {
		return false, err
	}
	if old != "" {
		return true, os.RemoveAll(filepath.Join(dir, old))
	}
	return true, nil
}

func writeFresh(dir string, payload Payload) (string, error) {
	fresh, err := os.MkdirTemp(dir, "..version-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return "", err
	}
	for path, file := range payload {
		full := filepath.Join(fresh, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return "", err
		}
		mode := fs.FileMode(file.Mode)
		if err := os.WriteFile(full, file.Data, mode); err != nil {
			return "", err
		}
		// WriteFile's mode passes through the umask.
		if err := os.Chmod(full, mode); err != nil {
			return "", err
		}
		if file.FsUser != nil {
			if err := os.Chown(full, int(*file.FsUser), -1); err != nil {
				return "", err
			}
		}
	}
	return fresh, nil
}

func swap(dir, target string) error {
	tmp := filepath.Join(dir, dataLinkNew)
	_ = os.Remove(tmp)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, dataLink))
}

// linkVisible gives each top-level name a link through "..data" and removes links of names that
// went away.
func linkVisible(dir string, payload Payload) error {
	wanted := map[string]bool{}
	for path := range payload {
		top, _, _ := strings.Cut(filepath.Clean(path), string(filepath.Separator))
		wanted[top] = true
	}
	for name := range wanted {
		err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !wanted[entry.Name()] && !strings.HasPrefix(entry.Name(), "..") {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds compares content only: modes follow from the same volume source each time.
func holds(dir string, payload Payload) (bool, error) {
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, known := payload[name]
		if !known {
			found = -len(payload) - 1
			return fs.SkipAll
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Equal(data, file.Data) {
			found++
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return found == len(payload), err
}
