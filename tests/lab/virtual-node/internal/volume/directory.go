package volume

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"
)

// setupEmptyDir makes a directory of the disk, or a tmpfs of its own for medium Memory.
func setupEmptyDir(dir string, source *v1.EmptyDirVolumeSource, group *int64) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	switch source.Medium {
	case v1.StorageMediumDefault:
	case v1.StorageMediumMemory:
		if err := mountTmpfs(dir, source); err != nil {
			return err
		}
	default:
		return fmt.Errorf("emptyDir medium %q: this node supports \"\" and \"Memory\"", source.Medium)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	return giveToGroup(dir, group, false)
}

func mountTmpfs(dir string, source *v1.EmptyDirVolumeSource) error {
	mounted, err := mountsBelow(dir)
	if err != nil || len(mounted) > 0 {
		return err
	}
	options := ""
	if source.SizeLimit != nil && !source.SizeLimit.IsZero() {
		options = fmt.Sprintf("size=%d", source.SizeLimit.Value())
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mount tmpfs (%s) at %s: %w", options, dir, err)
	}
	return nil
}

func setupHostPath(source *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	switch kind {
	case v1.HostPathUnset:
		return nil
	case v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(source.Path, 0o755)
	case v1.HostPathFileOrCreate:
		file, err := os.OpenFile(source.Path, os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return file.Close()
	}
	info, err := os.Stat(source.Path)
	if err != nil {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	if info.IsDir() != (kind == v1.HostPathDirectory) {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", source.Path, kind)
	}
	return nil
}

// RemoveTree unmounts everything at or below dir and removes it. A directory that is not there is
// no error.
func RemoveTree(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := syscall.Unmount(mounts[i], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("unmount %s: %w", mounts[i], err)
		}
	}
	return os.RemoveAll(dir)
}

// mountsBelow lists the mount points at or below dir, outermost first.
func mountsBelow(dir string) ([]string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var points []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if point == resolved || strings.HasPrefix(point, resolved+"/") {
			points = append(points, point)
		}
	}
	return points, lines.Err()
}

// unescape undoes the octal escapes of mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
