package pod

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"probelet.io/lab/virtual-node/internal/probe"
)

// Why a container is condemned, as kubelet words it.
const (
	startupFailed  = "failed startup probe"
	livenessFailed = "failed liveness probe"
)

// health is what the probes of a running container say.
type health struct {
	started, ready bool
	// dead: the liveness or startup probe gave up; the container is to be killed.
	dead string
}

func readyOf(conditions []v1.PodCondition) string {
	for _, c := range conditions {
		if c.Type == v1.PodReady {
			return string(c.Status)
		}
	}
	return ""
}

// startHealth begins the probes of a container that has just started: the startup probe first,
// readiness and liveness when it has passed.
func (r *Runner) startHealth(c *container, s *v1.Container) {
	ctx, cancel := context.WithCancel(r.work)
	c.endHealth = cancel
	if s.StartupProbe == nil {
		r.passStartup(ctx, c, s)
		return
	}
	r.setHealth(s.Name, health{})
	r.runProbe(ctx, c, s, "Startup", s.StartupProbe, func(ok bool, message string) {
		if ok {
			if !r.isStarted(s.Name) {
				r.passStartup(ctx, c, s)
			}
			return
		}
		r.condemn(ctx, s.Name, startupFailed)
	}, func() bool { return r.isStarted(s.Name) })
}

func (r *Runner) passStartup(ctx context.Context, c *container, s *v1.Container) {
	r.setHealth(s.Name, health{started: true, ready: s.ReadinessProbe == nil})
	if s.ReadinessProbe != nil {
		r.runProbe(ctx, c, s, "Readiness", s.ReadinessProbe, func(ok bool, _ string) {
			if ctx.Err() == nil {
				r.setHealth(s.Name, health{started: true, ready: ok})
			}
		}, nil)
	}
	if s.LivenessProbe != nil {
		r.runProbe(ctx, c, s, "Liveness", s.LivenessProbe, func(ok bool, _ string) {
			if !ok {
				r.condemn(ctx, s.Name, livenessFailed)
			}
		}, nil)
	}
	r.Wake()
}

// runProbe starts a worker; until, where given, ends it when it says so.
func (r *Runner) runProbe(ctx context.Context, c *container, s *v1.Container, kind string, p *v1.Probe, report func(bool, string), until func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	worker := probe.Worker{
		Spec:    p,
		Target:  probe.Target{PodIP: r.sandbox.ips[0], Container: s, Exec: r.execIn(c.current.ID)},
		Started: c.current.StartedAt,
		Report: func(ok bool, message string) {
			report(ok, message)
			if until != nil && until() {
				cancel()
			}
		},
		Failed: func(message string) {
			r.event(v1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind, message)
		},
	}
	go func() {
		defer cancel()
		worker.Run(ctx)
	}()
}

func (r *Runner) condemn(ctx context.Context, name, why string) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	if h := r.health[name]; h != nil {
		h.dead = why
	}
	r.mu.Unlock()
	r.Wake()
}

func (r *Runner) stopHealth(c *container) {
	if c.endHealth != nil {
		c.endHealth()
		c.endHealth = nil
	}
	r.mu.Lock()
	delete(r.health, c.name)
	r.mu.Unlock()
}

func (r *Runner) setHealth(name string, h health) {
	r.mu.Lock()
	before := r.health[name]
	r.health[name] = &h
	r.mu.Unlock()
	if before == nil || *before != h {
		r.Wake()
	}
}

func (r *Runner) isStarted(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.health[name]
	return h != nil && h.started
}

// condemned says why a container is to be killed, or "".
func (r *Runner) condemned(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.health[name]; h != nil {
		return h.dead
	}
	return ""
}
