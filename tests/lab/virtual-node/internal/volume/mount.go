package volume

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// HostPath resolves one volume mount to the path on this machine that the runtime binds. subPath is
// the expanded subPath; a directory it names is made where missing, and one that leads out of the
// volume is refused.
func (s *Set) HostPath(pod *v1.Pod, mount *v1.VolumeMount, subPath string) (string, error) {
	volume := findVolume(pod, mount.Name)
	if volume == nil {
		return "", fmt.Errorf("volumeMount %q: the Pod has no such volume", mount.Name)
	}
	base := s.path(mount.Name)
	if volume.HostPath != nil {
		base = volume.HostPath.Path
	}
	if subPath == "" {
		return base, nil
	}
	if !filepath.IsLocal(subPath) {
		return "", fmt.Errorf("volumeMount %q: subPath %q must be relative and inside the volume", mount.Name, subPath)
	}
	return resolveSubPath(base, subPath)
}

func resolveSubPath(base, subPath string) (string, error) {
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		return "", err
	}
	full := filepath.Join(base, subPath)
	if _, err := os.Stat(full); os.IsNotExist(err) {
		if err := makeSubPath(base, subPath); err != nil {
			return "", fmt.Errorf("failed to create subPath directory %q: %w", subPath, err)
		}
	}
	resolved, err := filepath.EvalSymlinks(full)
	if err != nil {
		return "", err
	}
	if resolved != base && !strings.HasPrefix(resolved, base+"/") {
		return "", fmt.Errorf("subPath %q leads out of the volume", subPath)
	}
	return resolved, nil
}

// makeSubPath creates the directories with the volume's own mode; os.Root keeps every step inside.
func makeSubPath(base, subPath string) error {
	info, err := os.Stat(base)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	path := ""
	for _, part := range strings.Split(filepath.Clean(subPath), "/") {
		path = filepath.Join(path, part)
		if err := root.Mkdir(path, 0o750); err != nil {
			if os.IsExist(err) {
				continue
			}
			return err
		}
		if err := root.Chmod(path, info.Mode()&(fs.ModePerm|fs.ModeSetgid)); err != nil {
			return err
		}
	}
	return nil
}

func findVolume(pod *v1.Pod, name string) *v1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}
