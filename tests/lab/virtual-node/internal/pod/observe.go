package pod

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/crilog"
)

// Limits of a termination message (kubernetes/kubernetes:pkg/kubelet/container/runtime.go).
const (
	maxMessageBytes  = 4096
	maxFallbackLines = 80
	maxFallbackBytes = 2048
)

// observe takes over what the runtime says of the running containers and of the sandbox.
func (r *Runner) observe() {
	for _, c := range r.containers {
		if c.running() {
			r.observeOne(c)
		}
	}
}

func (r *Runner) observeOne(c *container) {
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	answer, err := r.node.CRI.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.current.ID})
	if err != nil {
		if isNotFound(err) {
			r.markExited(c, 137, "ContainerStatusUnknown", "The container could not be located")
		} else {
			r.log.Warn("container status", "container", c.name, "err", err)
		}
		return
	}
	state := answer.Status
	c.current.ImageID = state.ImageRef
	// The runtime may know the image under several names; the Pod's own is the one to show.
	c.current.Image = c.image
	if state.StartedAt != 0 {
		c.current.StartedAt = time.Unix(0, state.StartedAt)
	}
	if state.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	c.current.FinishedAt = time.Unix(0, state.FinishedAt)
	r.markExited(c, state.ExitCode, state.Reason, state.Message)
}

func (r *Runner) markExited(c *container, code int32, reason, message string) {
	if c.current.FinishedAt.IsZero() {
		c.current.FinishedAt = time.Now()
	}
	c.current.Exited, c.current.ExitCode, c.current.Reason = true, code, reason
	c.current.Message = r.terminationMessage(c, message)
	r.stopHealth(c)
	r.log.Info("container ended", "container", c.name, "id", c.current.ID, "code", code, "reason", reason)
}

// terminationMessage is what the container left in its file, or the end of its log where the policy
// says so, or what the runtime says.
func (r *Runner) terminationMessage(c *container, otherwise string) string {
	pod := r.snapshot()
	s := spec(pod, c.name)
	if s.TerminationMessagePath == "" {
		return otherwise
	}
	file, err := os.Open(r.messagePath(pod, c.name, c.restarts))
	if err != nil {
		return otherwise
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxMessageBytes))
	if err == nil && len(text) > 0 {
		return string(text)
	}
	if s.TerminationMessagePolicy == v1.TerminationMessageFallbackToLogsOnError && c.current.ExitCode != 0 {
		var tail bytes.Buffer
		if crilog.Copy(context.Background(), r.logPath(c.name, c.restarts), crilog.Options{Tail: maxFallbackLines}, &tail) == nil {
			text := tail.Bytes()
			return string(text[max(0, len(text)-maxFallbackBytes):])
		}
	}
	return otherwise
}

// sandboxLost says that the Pod's sandbox has died.
func (r *Runner) sandboxLost() bool {
	if r.sandbox.id == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	answer, err := r.node.CRI.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: r.sandbox.id})
	if err != nil {
		return isNotFound(err)
	}
	return answer.Status.State != runtimeapi.PodSandboxState_SANDBOX_READY
}
