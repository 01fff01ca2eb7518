// Package plan decides, from what the containers of a Pod do now, which ones to start and stop
// next. It has no clock and no I/O; the rules are those of
// kubernetes/kubernetes:pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions).
package plan

import (
	v1 "k8s.io/api/core/v1"
)

// Kind says which part a container plays in its Pod's life.
type Kind int

// Main containers run side by side, Init containers one after the other before them, and Sidecars
// (init containers with restartPolicy Always) from their turn in that row until the Pod ends.
const (
	Main Kind = iota
	Init
	Sidecar
)

// KindOfInit is Sidecar for an init container with restartPolicy Always, else Init.
func KindOfInit(c *v1.Container) Kind {
	if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
		return Sidecar
	}
	return Init
}

// State is what a container does now.
type State int

// Absent containers were never started in this sandbox.
const (
	Absent State = iota
	Running
	Exited
)

// Container is the view of one container. Started is kubelet's meaning: running, postStart done,
// startup probe passed.
type Container struct {
	Name     string
	Kind     Kind
	State    State
	ExitCode int32
	Started  bool
}

// Decision names what to do now. Starts are in the order of the spec and may still have to wait
// for their back-off; Stops are in the order in which they must end, one after the other.
type Decision struct {
	Starts []string
	Stops  []string
	// Finished: nothing runs and nothing will be started again.
	Finished bool
}

// Next decides for a Pod that is not being deleted. The containers are in the order of the spec,
// init containers first.
func Next(policy v1.RestartPolicy, containers []Container) Decision {
	var inits, mains []Container
	mainStarted := false
	for _, c := range containers {
		if c.Kind != Main {
			inits = append(inits, c)
			continue
		}
		mains = append(mains, c)
		mainStarted = mainStarted || c.State != Absent
	}
	if mainStarted && allDone(policy, mains) {
		return windDown(inits)
	}
	decision, ready := startInits(policy, inits, mainStarted)
	if !ready {
		return decision
	}
	for _, c := range mains {
		if c.State == Absent || c.State == Exited && restarts(policy, c.ExitCode) {
			decision.Starts = append(decision.Starts, c.Name)
		}
	}
	return decision
}

// startInits walks the row of init containers; ready says that the main ones may run. Once a main
// container has run, only sidecars are brought back and nothing waits for them.
func startInits(policy v1.RestartPolicy, inits []Container, mainStarted bool) (Decision, bool) {
	var decision Decision
	for i, c := range inits {
		switch {
		case c.Kind == Sidecar:
			if c.State != Running {
				decision.Starts = append(decision.Starts, c.Name)
			}
			if !mainStarted && !(c.State == Running && c.Started) {
				decision.Starts = append(decision.Starts, deadSidecars(inits[i+1:])...)
				return decision, false
			}
		case mainStarted || c.State == Exited && c.ExitCode == 0:
		case c.State == Running:
			return decision, false
		case c.State == Exited && policy == v1.RestartPolicyNever:
			return windDown(inits), false
		default:
			decision.Starts = append(decision.Starts, c.Name)
			return decision, false
		}
	}
	return decision, true
}

// deadSidecars had run and ended while an earlier one is not ready: they come back regardless.
func deadSidecars(inits []Container) []string {
	var names []string
	for _, c := range inits {
		if c.Kind == Sidecar && c.State == Exited {
			names = append(names, c.Name)
		}
	}
	return names
}

// windDown ends the sidecars, the last one first, once nothing else will run.
func windDown(inits []Container) Decision {
	var decision Decision
	for i := len(inits) - 1; i >= 0; i-- {
		if inits[i].State == Running {
			decision.Stops = append(decision.Stops, inits[i].Name)
		}
	}
	decision.Finished = len(decision.Stops) == 0
	return decision
}

func allDone(policy v1.RestartPolicy, mains []Container) bool {
	for _, c := range mains {
		if c.State != Exited || restarts(policy, c.ExitCode) {
			return false
		}
	}
	return true
}

func restarts(policy v1.RestartPolicy, exitCode int32) bool {
	return policy == v1.RestartPolicyAlways || policy == v1.RestartPolicyOnFailure && exitCode != 0
}
