package status

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

// Input is everything a Pod's status follows from.
type Input struct {
	Containers []Container // init containers first, in the order of the spec
	Runtime    string      // "containerd"
	HostIP     string
	PodIPs     []string
	StartTime  time.Time
	// SandboxReady: the Pod has a network.
	SandboxReady bool
	// Terminal: nothing will be started again (finished, or deleted and stopped).
	Terminal bool
	// Reason and Message of the Pod as a whole, for example DeadlineExceeded, with Failed set.
	Failed  bool
	Reason  string
	Message string
	// Gates are the conditions that readiness gates are looked up in.
	Gates []v1.PodCondition
	// Previous is the last status computed; transition times are kept from it.
	Previous v1.PodStatus
	Now      time.Time
	// Generation of the spec that this status speaks of.
	Generation int64
}

// Build computes the status of the Pod.
func Build(pod *v1.Pod, in Input) v1.PodStatus {
	start := metav1.NewTime(in.StartTime)
	out := v1.PodStatus{
		HostIP:             in.HostIP,
		HostIPs:            []v1.HostIP{{IP: in.HostIP}},
		StartTime:          &start,
		QOSClass:           in.Previous.QOSClass,
		Reason:             in.Reason,
		Message:            in.Message,
		ObservedGeneration: in.Generation,
	}
	if len(in.PodIPs) > 0 {
		out.PodIP = in.PodIPs[0]
		for _, ip := range in.PodIPs {
			out.PodIPs = append(out.PodIPs, v1.PodIP{IP: ip})
		}
	}
	defaultReason := ReasonCreating
	if len(pod.Spec.InitContainers) > 0 {
		defaultReason = ReasonInitializing
	}
	for _, c := range in.Containers {
		if c.Kind == plan.Main {
			out.ContainerStatuses = append(out.ContainerStatuses, containerStatus(c, in.Runtime, defaultReason))
		} else {
			out.InitContainerStatuses = append(out.InitContainerStatuses, containerStatus(c, in.Runtime, defaultReason))
		}
	}
	out.Phase = phase(pod.Spec.RestartPolicy, in)
	if in.Failed {
		out.Phase = v1.PodFailed
	}
	out.Conditions = conditions(pod, in, out)
	return out
}
