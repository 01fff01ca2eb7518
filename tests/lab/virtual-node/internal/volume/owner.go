package volume

import (
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

const (
	readWrite  = fs.FileMode(0o660)
	readOnly   = fs.FileMode(0o440)
	executable = fs.FileMode(0o110)
)

// giveToGroup hands a tree to fsGroup with kubelet's modes
// (kubernetes/kubernetes:pkg/volume/volume_linux.go). Nil leaves it alone.
func giveToGroup(dir string, group *int64, readonly bool) error {
	if group == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, int(*group)); err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mask := readWrite
		if readonly {
			mask = readOnly
		}
		if entry.IsDir() {
			mask |= fs.ModeSetgid | executable
		}
		return os.Chmod(path, info.Mode()|mask)
	})
}

func fsGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// tokenOwner is the user that all containers of the Pod run as, where they agree and say so
// (kubernetes/kubernetes:pkg/volume/util/util.go, FsUserFrom).
func tokenOwner(pod *v1.Pod) *int64 {
	var podUser *int64
	if pod.Spec.SecurityContext != nil {
		podUser = pod.Spec.SecurityContext.RunAsUser
	}
	var common *int64
	containers := append(append([]v1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...)
	for _, c := range containers {
		user := podUser
		if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			user = c.SecurityContext.RunAsUser
		}
		if user == nil || common != nil && *common != *user {
			return nil
		}
		common = user
	}
	return common
}
