package pod

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/probe"
	"probelet.io/lab/virtual-node/internal/status"
)

// postStart runs the hook of a container that has just started. A failed hook kills the container
// (kubernetes/kubernetes:pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer).
func (r *Runner) postStart(c *container, s *v1.Container) bool {
	if s.Lifecycle == nil || s.Lifecycle.PostStart == nil {
		return true
	}
	if r.node.Disabled.Lacks(feature.PostStart) {
		r.log.Info("postStart left out: this node lacks it", "container", c.name)
		return true
	}
	err := r.runHook(r.work, s.Lifecycle.PostStart, c, s)
	if err == nil || r.work.Err() != nil {
		return err == nil
	}
	r.log.Warn("postStart failed", "container", c.name, "err", err)
	r.event(v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: %s", err)
	r.kill(c, "FailedPostStartHook", r.podGrace())
	c.wait(status.ReasonPostStart, err.Error())
	return false
}

// preStop runs the hook within the grace period; its failure is told and changes nothing.
func (r *Runner) preStop(ctx context.Context, c *container, s *v1.Container) {
	if s.Lifecycle == nil || s.Lifecycle.PreStop == nil || r.node.Disabled.Lacks(feature.PreStop) {
		return
	}
	if err := r.runHook(ctx, s.Lifecycle.PreStop, c, s); err != nil {
		r.log.Warn("preStop failed", "container", c.name, "err", err)
		r.event(v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %s", err)
	}
}

func (r *Runner) runHook(ctx context.Context, h *v1.LifecycleHandler, c *container, s *v1.Container) error {
	switch {
	case h.Exec != nil:
		code, output, err := r.execIn(c.current.ID)(ctx, h.Exec.Command)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("command '%v' exited with %d: %s", h.Exec.Command, code, output)
		}
		return nil
	case h.HTTPGet != nil:
		// Any answer counts, as in kubelet: only a request that fails is a failure.
		_, _, err := probe.Get(ctx, h.HTTPGet, probe.Target{PodIP: r.sandbox.ips[0], Container: s})
		return err
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return nil
		}
	}
	return fmt.Errorf("this node supports exec, httpGet and sleep hooks")
}

// execIn runs commands in one run of a container. The deadline of ctx becomes the runtime's timeout,
// which kills the command.
func (r *Runner) execIn(id string) probe.Exec {
	return func(ctx context.Context, command []string) (int32, string, error) {
		request := &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command}
		if deadline, limited := ctx.Deadline(); limited {
			request.Timeout = max(1, int64(time.Until(deadline).Round(time.Second)/time.Second))
		}
		answer, err := r.node.CRI.Runtime.ExecSync(ctx, request)
		if err != nil {
			return 0, "", err
		}
		return answer.ExitCode, string(answer.Stdout) + string(answer.Stderr), nil
	}
}

func isNotFound(err error) bool { return grpcstatus.Code(err) == codes.NotFound }
