package pod

import (
	"context"
	"time"

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

// probes are the probes of one run of a container. What they need is fixed at its start, since they
// run beside the Pod's own goroutine.
type probes struct {
	r       *Runner
	ctx     context.Context
	spec    *v1.Container
	target  probe.Target
	started time.Time
}

// startHealth begins the probes of a container that has just started: the startup probe first,
// readiness and liveness when it has passed.
func (r *Runner) startHealth(c *container, s *v1.Container) {
	ctx, cancel := context.WithCancel(r.work)
	c.endHealth = cancel
	p := &probes{
		r: r, ctx: ctx, spec: s, started: c.current.StartedAt,
		target: probe.Target{PodIP: r.sandbox.ips[0], Container: s, Exec: r.execIn(c.current.ID)},
	}
	if s.StartupProbe == nil {
		p.passStartup()
		return
	}
	p.set(health{})
	limited, end := context.WithCancel(ctx)
	p.run(limited, "Startup", s.StartupProbe, func(ok bool) {
		if !ok {
			p.condemn(startupFailed)
			return
		}
		end()
		p.passStartup()
	})
}

func (p *probes) passStartup() {
	p.set(health{started: true, ready: p.spec.ReadinessProbe == nil})
	if p.spec.ReadinessProbe != nil {
		p.run(p.ctx, "Readiness", p.spec.ReadinessProbe, func(ok bool) {
			p.set(health{started: true, ready: ok})
		})
	}
	if p.spec.LivenessProbe != nil {
		p.run(p.ctx, "Liveness", p.spec.LivenessProbe, func(ok bool) {
			if !ok {
				p.condemn(livenessFailed)
			}
		})
	}
}

func (p *probes) run(ctx context.Context, kind string, spec *v1.Probe, report func(bool)) {
	worker := probe.Worker{
		Spec: spec, Target: p.target, Started: p.started,
		Report: func(ok bool, _ string) { report(ok) },
		Failed: func(message string) {
			p.r.event(v1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind, message)
		},
	}
	go worker.Run(ctx)
}

// set records what a probe found, unless the run has ended meanwhile. A verdict of death stays.
func (p *probes) set(h health) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	before := p.r.health[p.spec.Name]
	if before != nil {
		h.dead = before.dead
	}
	if before == nil || *before != h {
		p.r.health[p.spec.Name] = &h
		p.r.Wake()
	}
}

func (p *probes) condemn(why string) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if h := p.r.health[p.spec.Name]; h != nil && p.ctx.Err() == nil {
		h.dead = why
		p.r.Wake()
	}
}

// stopHealth ends the probes of a run and forgets what they found.
func (r *Runner) stopHealth(c *container) {
	if c.endHealth != nil {
		c.endHealth()
		c.endHealth = nil
	}
	r.mu.Lock()
	delete(r.health, c.name)
	r.mu.Unlock()
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
