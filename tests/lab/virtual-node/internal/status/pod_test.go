package status

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"probelet.io/lab/virtual-node/internal/plan"
)

var (
	running   = &Instance{ID: "r", StartedAt: time.Unix(10, 0)}
	succeeded = &Instance{ID: "s", Exited: true}
	failed    = &Instance{ID: "f", Exited: true, ExitCode: 1}
)

func TestPhaseAndConditions(t *testing.T) {
	always, onFailure, never := v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever
	cases := []struct {
		name        string
		policy      v1.RestartPolicy
		containers  []Container
		terminal    bool
		phase       v1.PodPhase
		initialized v1.ConditionStatus
		ready       v1.ConditionStatus
		readyReason string
	}{
		{"nothing started is Pending", always, []Container{{Name: "m"}}, false, v1.PodPending, "True", "False", "ContainersNotReady"},
		{"a running init container is Pending", always,
			[]Container{{Name: "i", Kind: plan.Init, Current: running}, {Name: "m"}}, false, v1.PodPending, "False", "False", "ContainersNotReady"},
		{"running and ready", always, []Container{{Name: "m", Current: running, Started: true, Ready: true}}, false, v1.PodRunning, "True", "True", ""},
		{"running, readiness not passed", always, []Container{{Name: "m", Current: running, Started: true}}, false, v1.PodRunning, "True", "False", "ContainersNotReady"},
		{"crash loop stays Running", always,
			[]Container{{Name: "m", Current: failed, Restarting: true, WaitingReason: ReasonCrashLoop}}, false, v1.PodRunning, "True", "False", "ContainersNotReady"},
		{"a Job's success", onFailure, []Container{{Name: "m", Current: succeeded}}, true, v1.PodSucceeded, "True", "False", "PodCompleted"},
		{"a Job's success, before the Pod is wound up", never, []Container{{Name: "m", Current: succeeded, Restarting: true}}, false, v1.PodSucceeded, "True", "False", "PodCompleted"},
		{"a Job's failure", never, []Container{{Name: "m", Current: failed}}, true, v1.PodFailed, "True", "False", "PodFailed"},
		{"a retried Job stays Running", onFailure, []Container{{Name: "m", Current: failed, Restarting: true}}, false, v1.PodRunning, "True", "False", "ContainersNotReady"},
		{"a failed init container without restarts", never,
			[]Container{{Name: "i", Kind: plan.Init, Current: failed}, {Name: "m"}}, true, v1.PodFailed, "False", "False", "PodFailed"},
		{"a sidecar keeps a done Job Running", never,
			[]Container{{Name: "s", Kind: plan.Sidecar, Current: running, Started: true, Ready: true}, {Name: "m", Current: succeeded}},
			false, v1.PodRunning, "True", "False", "ContainersNotReady"},
		{"a sidecar's exit code does not count", never,
			[]Container{{Name: "s", Kind: plan.Sidecar, Current: failed}, {Name: "m", Current: succeeded}},
			true, v1.PodSucceeded, "True", "False", "PodCompleted"},
		{"a sidecar not started holds the Pod", always,
			[]Container{{Name: "s", Kind: plan.Sidecar, Current: running}, {Name: "m"}}, false, v1.PodPending, "False", "False", "ContainersNotReady"},
		{"a sidecar counts for readiness", always,
			[]Container{{Name: "s", Kind: plan.Sidecar, Current: running, Started: true}, {Name: "m", Current: running, Started: true, Ready: true}},
			false, v1.PodRunning, "True", "False", "ContainersNotReady"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: c.policy}}
			got := Build(pod, Input{Containers: c.containers, Terminal: c.terminal, Runtime: "containerd"})
			if got.Phase != c.phase {
				t.Errorf("phase: want %s, got %s", c.phase, got.Phase)
			}
			if cond := find(t, got, v1.PodInitialized); cond.Status != c.initialized {
				t.Errorf("Initialized: want %s, got %+v", c.initialized, cond)
			}
			if cond := find(t, got, v1.PodReady); cond.Status != c.ready || cond.Reason != c.readyReason {
				t.Errorf("Ready: want %s %q, got %+v", c.ready, c.readyReason, cond)
			}
		})
	}
}

func TestTransitionTimeMovesOnlyOnAChange(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways}}
	in := Input{Containers: []Container{{Name: "m", Current: running, Started: true, Ready: true}}, Now: time.Unix(100, 0)}
	in.Previous = Build(pod, in)
	in.Now = time.Unix(200, 0)
	if at := find(t, Build(pod, in), v1.PodReady).LastTransitionTime.Unix(); at != 100 {
		t.Fatalf("unchanged: want 100, got %d", at)
	}
	in.Containers[0].Ready = false
	if at := find(t, Build(pod, in), v1.PodReady).LastTransitionTime.Unix(); at != 200 {
		t.Fatalf("changed: want 200, got %d", at)
	}
}

func TestCrashLoopShowsWaitingWithTheLastExit(t *testing.T) {
	c := Container{Name: "m", Current: failed, Restarting: true, WaitingReason: ReasonCrashLoop, Restarts: 2}
	got := containerStatus(c, "containerd", ReasonCreating)
	if got.State.Waiting == nil || got.State.Waiting.Reason != ReasonCrashLoop {
		t.Fatalf("want waiting, got %+v", got.State)
	}
	if got.LastTerminationState.Terminated == nil || got.LastTerminationState.Terminated.ContainerID != "containerd://f" {
		t.Fatalf("want the last exit, got %+v", got.LastTerminationState)
	}
	if got.RestartCount != 2 || got.Ready || *got.Started {
		t.Fatalf("got %+v", got)
	}
}

func TestReadinessGateHoldsReady(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, ReadinessGates: []v1.PodReadinessGate{{ConditionType: "x/y"}}}}
	in := Input{Containers: []Container{{Name: "m", Current: running, Started: true, Ready: true}}}
	if cond := find(t, Build(pod, in), v1.PodReady); cond.Status != v1.ConditionFalse || cond.Reason != "ReadinessGatesNotReady" {
		t.Fatalf("got %+v", cond)
	}
	in.Gates = []v1.PodCondition{{Type: "x/y", Status: v1.ConditionTrue}}
	if cond := find(t, Build(pod, in), v1.PodReady); cond.Status != v1.ConditionTrue {
		t.Fatalf("got %+v", cond)
	}
}

func find(t *testing.T, s v1.PodStatus, kind v1.PodConditionType) v1.PodCondition {
	t.Helper()
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("no condition %s", kind)
	return v1.PodCondition{}
}
