package pod

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/env"
)

// mounts lists what the runtime binds into the container: the Pod's volumes, /etc/hosts and the
// termination message file.
func (r *Runner) mounts(pod *v1.Pod, c *container, s *v1.Container, vars []env.Var) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	hosts := true
	for i := range s.VolumeMounts {
		m := &s.VolumeMounts[i]
		subPath := m.SubPath
		if m.SubPathExpr != "" {
			subPath = expandAll([]string{m.SubPathExpr}, vars)[0]
		}
		from, err := r.volumes.HostPath(pod, m, subPath)
		if err != nil {
			return nil, err
		}
		to := m.MountPath
		if !filepath.IsAbs(to) {
			to = "/" + to
		}
		hosts = hosts && to != "/etc/hosts"
		out = append(out, &runtimeapi.Mount{
			HostPath: from, ContainerPath: to, Readonly: m.ReadOnly || filled(pod, m.Name), Propagation: propagation(m.MountPropagation),
		})
	}
	if hosts {
		out = append(out, &runtimeapi.Mount{HostPath: hostsPath(r.node, pod), ContainerPath: "/etc/hosts"})
	}
	if s.TerminationMessagePath != "" {
		path := r.messagePath(pod, c.name, c.attempt())
		if err := makeMessageFile(path); err != nil {
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{HostPath: path, ContainerPath: s.TerminationMessagePath})
	}
	return out, nil
}

// filled: kubelet mounts ConfigMaps, Secrets, downward API and projections read-only always.
func filled(pod *v1.Pod, name string) bool {
	for _, v := range pod.Spec.Volumes {
		if v.Name == name {
			return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
		}
	}
	return false
}

func propagation(mode *v1.MountPropagationMode) runtimeapi.MountPropagation {
	switch {
	case mode == nil:
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	case *mode == v1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case *mode == v1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}

func (r *Runner) messagePath(pod *v1.Pod, container string, attempt int32) string {
	return filepath.Join(r.node.podDir(pod), "containers", container, strconv.Itoa(int(attempt)))
}

// makeMessageFile: any user of the container may write it.
func makeMessageFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return fmt.Errorf("termination message file: %w", err)
	}
	return os.Chmod(path, 0o666)
}
