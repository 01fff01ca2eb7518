package pod

import (
	"context"
	"os"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/plan"
	"probelet.io/lab/virtual-node/internal/volume"
)

// podGrace is the Pod's own grace period in seconds.
func (r *Runner) podGrace() int64 {
	if own := r.snapshot().Spec.TerminationGracePeriodSeconds; own != nil {
		return *own
	}
	return defaultGrace
}

// probeGrace is the grace of a container that a probe condemned: the probe's own, else the Pod's.
func (r *Runner) probeGrace(c *container, why string) int64 {
	s := spec(r.snapshot(), c.name)
	p := s.LivenessProbe
	if why == startupFailed {
		p = s.StartupProbe
	}
	if p != nil && p.TerminationGracePeriodSeconds != nil {
		return *p.TerminationGracePeriodSeconds
	}
	return r.podGrace()
}

// kill ends one container: preStop, then the stop signal, then SIGKILL when the grace is over.
func (r *Runner) kill(c *container, message string, grace int64) {
	if c.running() {
		r.killAfter(c, message, grace, nil)
		r.observeOne(c)
	}
}

// killAfter does not touch the container's state, so several may run at once. The stop signal
// waits for turn, where given, but no longer than the grace period.
func (r *Runner) killAfter(c *container, message string, grace int64, turn func(context.Context)) {
	s := spec(r.snapshot(), c.name)
	if message == "" {
		message = "Stopping container " + c.name
	}
	r.event(v1.EventTypeNormal, "Killing", "%s", message)
	r.log.Info("stopping container", "container", c.name, "grace", grace)
	deadline := time.Now().Add(time.Duration(grace) * time.Second)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if grace > 0 {
		r.preStop(ctx, c, s)
		if turn != nil {
			turn(ctx)
		}
	}
	left := max(minGraceToStop, int64(time.Until(deadline).Round(time.Second)/time.Second))
	r.stopContainer(c.current.ID, left)
	r.log.Info("container stopped", "container", c.name)
}

func (r *Runner) stopContainer(id string, seconds int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second+criTimeout)
	defer cancel()
	_, err := r.node.CRI.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: seconds})
	if err != nil && !isNotFound(err) {
		r.log.Warn("stop container", "id", id, "err", err)
	}
}

// killAll ends every container: main ones together, then sidecars one by one, the last first, all
// within one grace period.
func (r *Runner) killAll(grace int64) {
	type running struct {
		c    *container
		gone chan struct{}
	}
	var all []running
	for _, c := range r.containers {
		if c.running() {
			all = append(all, running{c, make(chan struct{})})
		}
	}
	var group sync.WaitGroup
	for i, one := range all {
		var before []chan struct{}
		for j, other := range all {
			if one.c.kind == plan.Sidecar && (other.c.kind != plan.Sidecar || j > i) {
				before = append(before, other.gone)
			}
		}
		group.Go(func() {
			defer close(one.gone)
			r.killAfter(one.c, "", grace, func(ctx context.Context) {
				for _, gone := range before {
					select {
					case <-gone:
					case <-ctx.Done():
						return
					}
				}
			})
		})
	}
	group.Wait()
	r.observe()
}

// hasten kills what still runs when a deletion with a shorter grace arrives during another.
func (r *Runner) hasten(grace int64) {
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	for _, id := range r.containersAtRuntime(ctx, runtimeapi.ContainerState_CONTAINER_RUNNING) {
		go r.stopContainer(id, max(1, grace))
	}
}

// terminate carries out the deletion: graceful stop, final status, then nothing is left.
func (r *Runner) terminate(ctx context.Context) {
	grace := *r.deleting()
	if !r.terminal {
		r.observe()
		r.killAll(grace)
		if ctx.Err() != nil {
			return
		}
		r.terminal = true
		r.stopSandbox()
		r.publish()
	}
	r.remove()
	r.log.Info("pod removed")
}

// remove deletes the Pod's containers, sandbox, volumes and logs.
func (r *Runner) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	for _, id := range r.containersAtRuntime(ctx, -1) {
		r.removeContainer(id)
	}
	RemoveSandboxes(ctx, r.node, map[string]string{labelUID: r.UID()})
	pod := r.snapshot()
	if err := volume.RemoveTree(r.node.podDir(pod)); err != nil {
		r.log.Warn("remove volumes", "err", err)
	}
	if err := os.RemoveAll(r.node.logDir(pod)); err != nil {
		r.log.Warn("remove logs", "err", err)
	}
}

// containersAtRuntime lists this Pod's containers; state -1 means all.
func (r *Runner) containersAtRuntime(ctx context.Context, state runtimeapi.ContainerState) []string {
	filter := &runtimeapi.ContainerFilter{LabelSelector: map[string]string{labelUID: r.UID()}}
	if state >= 0 {
		filter.State = &runtimeapi.ContainerStateValue{State: state}
	}
	answer, err := r.node.CRI.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: filter})
	if err != nil {
		r.log.Warn("list containers", "err", err)
		return nil
	}
	var ids []string
	for _, c := range answer.Containers {
		ids = append(ids, c.Id)
	}
	return ids
}
