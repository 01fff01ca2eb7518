package pod

import (
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

func (r *Runner) logPath(container string, attempt int32) string {
	return filepath.Join(r.node.logDir(r.snapshot()), container, fmt.Sprintf("%d.log", attempt))
}

// Log names the log file of a container's present run, or of the one before it, and says whether
// the run may still write.
func (r *Runner) Log(container string, previous bool) (path string, running func() bool, err error) {
	found := r.statusOf(container)
	if found == nil {
		return "", nil, fmt.Errorf("container %s is not valid for pod %s", container, r.snapshot().Name)
	}
	attempt := found.RestartCount
	if previous {
		if found.LastTerminationState.Terminated == nil {
			return "", nil, fmt.Errorf("previous terminated container %q in pod %q not found", container, r.snapshot().Name)
		}
		// In back-off the run that just ended is both the last and the newest.
		if found.State.Waiting == nil {
			attempt--
		}
		return r.logPath(container, attempt), func() bool { return false }, nil
	}
	if found.ContainerID == "" {
		reason := "not started"
		if found.State.Waiting != nil {
			reason = found.State.Waiting.Reason
		}
		return "", nil, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, r.snapshot().Name, reason)
	}
	id := found.ContainerID
	return r.logPath(container, attempt), func() bool {
		now := r.statusOf(container)
		return now != nil && now.ContainerID == id && now.State.Running != nil
	}, nil
}

// RunningID is the runtime's name of the container's present run.
func (r *Runner) RunningID(container string) (string, error) {
	found := r.statusOf(container)
	if found == nil {
		return "", fmt.Errorf("container %s is not valid for pod %s", container, r.snapshot().Name)
	}
	if found.State.Running == nil {
		return "", fmt.Errorf("container %q of pod %q is not running", container, r.snapshot().Name)
	}
	return filepath.Base(found.ContainerID), nil
}

func (r *Runner) statusOf(container string) *v1.ContainerStatus {
	now := r.Status()
	for _, list := range [][]v1.ContainerStatus{now.InitContainerStatuses, now.ContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}
