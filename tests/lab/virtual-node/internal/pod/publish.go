package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"probelet.io/lab/virtual-node/internal/status"
)

// publish computes the status and tells of a change.
func (r *Runner) publish() {
	r.mu.Lock()
	fresh := r.computeStatus()
	same := apiequality.Semantic.DeepEqual(r.status, fresh)
	if !same {
		r.status = fresh
	}
	r.mu.Unlock()
	if same {
		return
	}
	r.log.Info("status", "phase", string(fresh.Phase), "ready", readyOf(fresh.Conditions))
	r.changed(r)
}

// computeStatus asks the pure rules.
func (r *Runner) computeStatus() v1.PodStatus {
	pod := r.pod
	in := status.Input{
		Runtime:      "containerd",
		HostIP:       r.node.IP,
		PodIPs:       r.sandbox.ips,
		StartTime:    r.started,
		SandboxReady: r.sandbox.id != "" && !r.terminal,
		Terminal:     r.terminal,
		Previous:     r.status,
		Gates:        r.gates(pod),
		Now:          time.Now(),
		Generation:   r.latest.Generation,
	}
	if in.Previous.QOSClass == "" {
		in.Previous.QOSClass = QOS(pod)
	}
	if r.failed != nil {
		in.Failed, in.Reason, in.Message = true, r.failed.reason, r.failed.message
	}
	for _, c := range r.containers {
		in.Containers = append(in.Containers, r.containerView(c, pod))
	}
	return status.Build(pod, in)
}

func (r *Runner) containerView(c *container, pod *v1.Pod) status.Container {
	out := c.waiting
	out.Name, out.Image, out.Kind = c.name, spec(pod, c.name).Image, c.kind
	out.Current, out.Last, out.Restarts = c.current, c.last, c.restarts
	out.Restarting = !c.running() && !r.terminal
	if h := r.health[c.name]; h != nil {
		out.Started, out.Ready = h.started, h.ready
	}
	return out
}

// gates are the conditions of the Pod in the API, where its readiness gates are met.
func (r *Runner) gates(pod *v1.Pod) []v1.PodCondition {
	if len(pod.Spec.ReadinessGates) == 0 {
		return nil
	}
	seen, err := r.node.Pods.Pods(pod.Namespace).Get(pod.Name)
	if err != nil || seen.UID != pod.UID {
		return nil
	}
	return seen.Status.Conditions
}
