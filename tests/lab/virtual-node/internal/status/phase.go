package status

import (
	v1 "k8s.io/api/core/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

// phase follows kubernetes/kubernetes:pkg/kubelet/kubelet_pods.go (getPhase).
func phase(policy v1.RestartPolicy, in Input) v1.PodPhase {
	inits := countInits(in)
	if inits.failed > 0 && policy == v1.RestartPolicyNever {
		return v1.PodFailed
	}
	mains := countMains(in)
	running := mains.running + inits.sidecarsRunning
	waiting := mains.waiting + inits.sidecarsWaiting
	initialized := mains.running+mains.stopped > 0
	switch {
	case inits.pending > 0, inits.sidecarsPending > 0 && !initialized, waiting > 0:
		return v1.PodPending
	case running > 0:
		return v1.PodRunning
	case mains.stopped == 0:
		return v1.PodPending
	case in.Terminal && mains.stopped == mains.succeeded:
		return v1.PodSucceeded
	case in.Terminal:
		return v1.PodFailed
	case policy == v1.RestartPolicyAlways:
		return v1.PodRunning
	case mains.stopped == mains.succeeded:
		return v1.PodSucceeded
	case policy == v1.RestartPolicyNever:
		return v1.PodFailed
	default:
		return v1.PodRunning
	}
}

type initCounts struct {
	pending, failed                                   int
	sidecarsPending, sidecarsRunning, sidecarsWaiting int
}

func countInits(in Input) initCounts {
	var n initCounts
	for _, c := range in.Containers {
		switch c.Kind {
		case plan.Init:
			switch {
			case c.Current == nil, !c.Current.Exited:
				n.pending++
			case c.Current.ExitCode != 0:
				n.failed++
			}
		case plan.Sidecar:
			switch {
			case c.Current == nil:
				n.sidecarsPending++
				// A Pod that has ended waits for no sidecar.
				if !in.Terminal {
					n.sidecarsWaiting++
				}
			case !c.Current.Exited:
				n.sidecarsRunning++
				if !c.Started {
					n.sidecarsPending++
				}
			}
		}
	}
	return n
}

type mainCounts struct{ running, waiting, stopped, succeeded int }

func countMains(in Input) mainCounts {
	var n mainCounts
	for _, c := range in.Containers {
		if c.Kind != plan.Main {
			continue
		}
		switch {
		case c.Current == nil && c.Last == nil:
			n.waiting++
		case c.Current != nil && !c.Current.Exited:
			n.running++
		default:
			n.stopped++
			// A container that waits for its next run has not succeeded.
			if c.Current != nil && c.Current.ExitCode == 0 && c.WaitingReason == "" {
				n.succeeded++
			}
		}
	}
	return n
}
