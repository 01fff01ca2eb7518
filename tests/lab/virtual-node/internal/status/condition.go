package status

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

// conditions follow kubernetes/kubernetes:pkg/kubelet/status/generate.go. Only the native ones are
// written: a provider knows no foreign condition, which is what tests of marks rely on.
func conditions(pod *v1.Pod, in Input, out v1.PodStatus) []v1.PodCondition {
	containersReady := containersReadyCondition(in, out.Phase)
	wanted := []v1.PodCondition{
		{Type: v1.PodReadyToStartContainers, Status: status(in.SandboxReady)},
		initializedCondition(in, out.Phase),
		readyCondition(pod, in, containersReady),
		containersReady,
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	}
	for i := range wanted {
		wanted[i].ObservedGeneration = in.Generation
		wanted[i].LastTransitionTime = metav1.NewTime(in.Now.Truncate(1e9))
		for _, before := range in.Previous.Conditions {
			if before.Type == wanted[i].Type && before.Status == wanted[i].Status {
				wanted[i].LastTransitionTime = before.LastTransitionTime
			}
		}
	}
	return wanted
}

func initializedCondition(in Input, phase v1.PodPhase) v1.PodCondition {
	cond := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	if phase == v1.PodSucceeded {
		cond.Reason = "PodCompleted"
		return cond
	}
	var incomplete []string
	for _, c := range in.Containers {
		switch {
		case c.Kind == plan.Main && c.Current != nil:
			return cond
		case c.Kind == plan.Init && !(c.Current != nil && c.Current.Exited && c.Current.ExitCode == 0),
			c.Kind == plan.Sidecar && !(c.Current != nil && !c.Current.Exited && c.Started):
			incomplete = append(incomplete, c.Name)
		}
	}
	if len(incomplete) > 0 {
		cond.Status = v1.ConditionFalse
		cond.Reason = "ContainersNotInitialized"
		cond.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return cond
}

func containersReadyCondition(in Input, phase v1.PodPhase) v1.PodCondition {
	cond := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionFalse}
	switch phase {
	case v1.PodSucceeded:
		cond.Reason = "PodCompleted"
		return cond
	case v1.PodFailed:
		cond.Reason = "PodFailed"
		return cond
	}
	var unready []string
	for _, c := range in.Containers {
		if c.Kind == plan.Init {
			continue
		}
		if c.Current == nil || c.Current.Exited || !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) == 0 {
		cond.Status = v1.ConditionTrue
		return cond
	}
	cond.Reason = "ContainersNotReady"
	cond.Message = fmt.Sprintf("containers with unready status: %s", unready)
	return cond
}

func readyCondition(pod *v1.Pod, in Input, containersReady v1.PodCondition) v1.PodCondition {
	cond := containersReady
	cond.Type = v1.PodReady
	if cond.Status != v1.ConditionTrue {
		return cond
	}
	var messages []string
	for _, gate := range pod.Spec.ReadinessGates {
		found := v1.ConditionStatus("")
		for _, c := range in.Gates {
			if c.Type == gate.ConditionType {
				found = c.Status
			}
		}
		switch found {
		case v1.ConditionTrue:
		case "":
			messages = append(messages, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		default:
			messages = append(messages, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, found))
		}
	}
	if len(messages) > 0 {
		cond.Status = v1.ConditionFalse
		cond.Reason = "ReadinessGatesNotReady"
		cond.Message = strings.Join(messages, ", ")
	}
	return cond
}

func status(value bool) v1.ConditionStatus {
	if value {
		return v1.ConditionTrue
	}
	return v1.ConditionFalse
}
