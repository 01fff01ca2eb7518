package pod

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

// sync brings the Pod one step nearer to its spec and answers when to look again at the latest.
func (r *Runner) sync() time.Duration {
	if r.terminal {
		return idleEvery
	}
	r.observe()
	left := r.deadline()
	if left <= 0 {
		r.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
		return idleEvery
	}
	r.killCondemned()
	r.replaceEdited()
	decision := plan.Next(r.snapshot().Spec.RestartPolicy, r.views())
	for _, name := range decision.Stops {
		r.kill(r.find(name), "", r.podGrace())
		r.publish()
	}
	if decision.Finished || len(decision.Stops) > 0 && r.settled() {
		r.finish()
		return idleEvery
	}
	if r.sandboxLost() {
		r.loseSandbox()
	}
	r.refresh()
	return min(left, r.startAll(decision.Starts))
}

// startAll prepares what containers need and starts the named ones in order.
func (r *Runner) startAll(names []string) time.Duration {
	if len(names) == 0 {
		return idleEvery
	}
	if !r.prepare() {
		return sandboxRetry
	}
	next := idleEvery
	for _, name := range names {
		if r.work.Err() != nil {
			return 0
		}
		if wait := r.start(r.find(name)); wait > 0 {
			next = min(next, wait)
		} else {
			// What follows may depend on it: look again at once.
			next = 0
		}
	}
	return next
}

// prepare makes volumes and sandbox ready.
func (r *Runner) prepare() bool {
	if !r.mounted {
		if err := r.volumes.Setup(r.work, r.current()); err != nil {
			r.event(v1.EventTypeWarning, "FailedMount", "%s", err)
			r.log.Warn("volumes", "err", err)
			return false
		}
		r.mounted = true
	}
	if err := r.ensureSandbox(); err != nil {
		r.event(v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", err)
		r.log.Warn("sandbox", "err", err)
		return false
	}
	// Downward volumes may name the address, which is known only now.
	r.refresh()
	return true
}

func (r *Runner) refresh() {
	if !r.mounted {
		return
	}
	ctx, cancel := context.WithTimeout(r.work, 10*time.Second)
	defer cancel()
	if err := r.volumes.Refresh(ctx, r.current()); err != nil && r.work.Err() == nil {
		r.log.Warn("volume refresh", "err", err)
	}
}

// killCondemned ends containers whose liveness or startup probe gave up.
func (r *Runner) killCondemned() {
	for _, c := range r.containers {
		if why := r.condemned(c.name); why != "" && c.running() {
			r.kill(c, "Container "+c.name+" "+why+", will be restarted", r.probeGrace(c, why))
		}
	}
}

// replaceEdited ends containers whose image was edited; they come back with the new one.
func (r *Runner) replaceEdited() {
	pod := r.snapshot()
	for _, c := range r.containers {
		s := spec(pod, c.name)
		if c.kind == plan.Init || c.current == nil || c.image == s.Image || c.recreate {
			continue
		}
		c.recreate = true
		if c.running() {
			r.kill(c, "Container "+c.name+" definition changed, will be restarted", r.podGrace())
		}
	}
}

func (r *Runner) views() []plan.Container {
	out := make([]plan.Container, len(r.containers))
	for i, c := range r.containers {
		view := plan.Container{Name: c.name, Kind: c.kind}
		switch {
		case c.current == nil || c.recreate:
		case c.current.Exited:
			view.State, view.ExitCode = plan.Exited, c.current.ExitCode
		default:
			view.State, view.Started = plan.Running, r.isStarted(c.name)
		}
		out[i] = view
	}
	return out
}

func (r *Runner) find(name string) *container {
	for _, c := range r.containers {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (r *Runner) settled() bool {
	for _, c := range r.containers {
		if c.running() {
			return false
		}
	}
	return true
}

// finish ends a Pod that ran to completion: its network and volumes go, its containers and logs stay
// until it is deleted.
func (r *Runner) finish() {
	r.terminal = true
	r.stopSandbox()
	if err := r.volumes.Teardown(); err != nil {
		r.log.Warn("volumes", "err", err)
	}
	r.mounted = false
	r.log.Info("pod finished")
}

// fail stops everything and makes the Pod Failed for good.
func (r *Runner) fail(reason, message string) {
	r.failed = &failure{reason, message}
	r.event(v1.EventTypeWarning, reason, "%s", message)
	r.killAll(r.podGrace())
	r.finish()
}

// deadline is what is left of activeDeadlineSeconds.
func (r *Runner) deadline() time.Duration {
	seconds := r.snapshot().Spec.ActiveDeadlineSeconds
	if seconds == nil {
		return idleEvery
	}
	return time.Until(r.started.Add(time.Duration(*seconds) * time.Second))
}

// loseSandbox prepares for a new network after the sandbox died: every container begins again.
func (r *Runner) loseSandbox() {
	r.log.Warn("sandbox died", "sandbox", r.sandbox.id)
	r.event(v1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	r.killAll(r.podGrace())
	r.stopSandbox()
	r.mu.Lock()
	r.sandbox = sandbox{attempt: r.sandbox.attempt + 1}
	r.mu.Unlock()
	for _, c := range r.containers {
		if c.current != nil {
			c.last, c.current = c.current, nil
			c.restarts++
		}
		c.wait("", "")
	}
}

func (r *Runner) stopSandbox() {
	if r.sandbox.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	if _, err := r.node.CRI.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: r.sandbox.id}); err != nil {
		r.log.Warn("stop sandbox", "err", err)
	}
}
