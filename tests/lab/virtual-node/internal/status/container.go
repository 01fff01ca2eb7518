// Package status computes a Pod's status as kubelet writes it. It has no clock and no I/O.
package status

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

// Waiting reasons as kubelet names them.
const (
	ReasonCreating       = "ContainerCreating"
	ReasonInitializing   = "PodInitializing"
	ReasonCrashLoop      = "CrashLoopBackOff"
	ReasonImageNeverPull = "ErrImageNeverPull"
	ReasonImagePull      = "ErrImagePull"
	ReasonImageBackOff   = "ImagePullBackOff"
	ReasonConfigError    = "CreateContainerConfigError"
	ReasonCreateError    = "CreateContainerError"
	ReasonRunError       = "RunContainerError"
	ReasonPostStart      = "PostStartHookError"
	ReasonCompleted      = "Completed"
	ReasonError          = "Error"
)

// Instance is one run of a container. FinishedAt is zero while it runs.
type Instance struct {
	ID         string // as the runtime names it, without "containerd://"
	Image      string
	ImageID    string
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int32
	Signal     int32
	Reason     string
	Message    string
	Exited     bool
}

// Container is what is known of one container of the Pod.
type Container struct {
	Name  string
	Image string // as the Pod asks for it
	Kind  plan.Kind
	// Current is nil before the first run; Last is the run before Current.
	Current *Instance
	Last    *Instance
	// Restarting: Current has ended and another run will follow, after WaitingReason.
	Restarting     bool
	WaitingReason  string
	WaitingMessage string
	Restarts       int32
	Started        bool
	Ready          bool
}

func containerStatus(c Container, runtime string, defaultReason string) v1.ContainerStatus {
	out := v1.ContainerStatus{
		Name:         c.Name,
		Image:        c.Image,
		RestartCount: c.Restarts,
	}
	started := false
	if c.Current != nil {
		out.ContainerID = runtime + "://" + c.Current.ID
		out.ImageID = c.Current.ImageID
		if c.Current.Image != "" {
			out.Image = c.Current.Image
		}
	}
	if c.Last != nil {
		out.LastTerminationState.Terminated = terminated(*c.Last, runtime)
	}
	switch {
	case c.Current == nil:
		out.State.Waiting = waiting(c, defaultReason)
	case !c.Current.Exited:
		out.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(c.Current.StartedAt)}
		started = c.Started
		out.Ready = c.Ready && c.Kind != plan.Init
	case c.Restarting && c.WaitingReason != "":
		out.State.Waiting = waiting(c, defaultReason)
		out.LastTerminationState.Terminated = terminated(*c.Current, runtime)
	default:
		out.State.Terminated = terminated(*c.Current, runtime)
		out.Ready = c.Kind == plan.Init && c.Current.ExitCode == 0
	}
	out.Started = &started
	return out
}

func waiting(c Container, defaultReason string) *v1.ContainerStateWaiting {
	reason := c.WaitingReason
	if reason == "" {
		reason = defaultReason
	}
	return &v1.ContainerStateWaiting{Reason: reason, Message: c.WaitingMessage}
}

func terminated(i Instance, runtime string) *v1.ContainerStateTerminated {
	reason := i.Reason
	if reason == "" {
		reason = ReasonCompleted
		if i.ExitCode != 0 {
			reason = ReasonError
		}
	}
	return &v1.ContainerStateTerminated{
		ExitCode:    i.ExitCode,
		Signal:      i.Signal,
		Reason:      reason,
		Message:     i.Message,
		StartedAt:   metav1.NewTime(i.StartedAt),
		FinishedAt:  metav1.NewTime(i.FinishedAt),
		ContainerID: runtime + "://" + i.ID,
	}
}
