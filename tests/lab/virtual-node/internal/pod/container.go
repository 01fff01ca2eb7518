package pod

import (
	"context"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/backoff"
	"probelet.io/lab/virtual-node/internal/cri"
	"probelet.io/lab/virtual-node/internal/env"
	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/plan"
	"probelet.io/lab/virtual-node/internal/status"
)

// container is one container of the Pod over all its runs.
type container struct {
	name    string
	kind    plan.Kind
	current *status.Instance // nil before the first run in this sandbox
	last    *status.Instance
	// image the current run was made from, as the Pod asked for it.
	image     string
	restarts  int32
	restartBO backoff.Backoff
	pull      pullState
	waiting   status.Container // only its WaitingReason and WaitingMessage
	told      bool             // the back-off Event of the present exit was sent
	// recreate: the image was edited; the next start needs no back-off.
	recreate  bool
	endHealth context.CancelFunc
}

// newContainer goes on counting where the API's status of the Pod stood, so that a restart of
// this program shows as a restart of the containers.
func (r *Runner) newContainer(name string, kind plan.Kind) *container {
	c := &container{name: name, kind: kind}
	for _, before := range append(append([]v1.ContainerStatus{}, r.pod.Status.InitContainerStatuses...), r.pod.Status.ContainerStatuses...) {
		if before.Name == name && before.ContainerID != "" {
			c.restarts = before.RestartCount + 1
		}
	}
	return c
}

func (c *container) running() bool { return c.current != nil && !c.current.Exited }

func (c *container) wait(reason, message string) {
	c.waiting.WaitingReason, c.waiting.WaitingMessage = reason, message
}

// spec finds the container in the own copy of the Pod.
func spec(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// start makes one run of the container: image, create, start, postStart. It answers how long to
// wait before it is worth trying again; zero means that it runs.
func (r *Runner) start(c *container) time.Duration {
	pod := r.snapshot()
	s := spec(pod, c.name)
	if left := r.backOff(c, pod); left > 0 {
		return left
	}
	image, retry := r.ensureImage(c, s)
	if image == nil {
		return retry
	}
	config, err := r.containerConfig(c, s, image)
	if err != nil {
		c.wait(status.ReasonConfigError, err.Error())
		r.event(v1.EventTypeWarning, "Failed", "Error: %s", err)
		r.log.Warn("container configuration", "container", c.name, "err", err)
		return sandboxRetry
	}
	if retry := r.createAndStart(c, s, config); retry > 0 {
		return retry
	}
	r.publish()
	if !r.postStart(c, s) {
		return sandboxRetry
	}
	r.startHealth(c, s)
	r.publish()
	return 0
}

// backOff answers how long a container that ended must stay down.
func (r *Runner) backOff(c *container, pod *v1.Pod) time.Duration {
	if c.current == nil || !c.current.Exited {
		return 0
	}
	now := time.Now()
	if c.recreate {
		return 0
	}
	if left := c.restartBO.Remaining(c.current.FinishedAt, now); left > 0 {
		message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
			c.restartBO.Delay(), c.name, pod.Name, pod.Namespace, pod.UID)
		c.wait(status.ReasonCrashLoop, message)
		if !c.told {
			c.told = true
			r.event(v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.name, pod.Name, pod.Namespace, pod.UID)
			r.log.Info("restart held back", "container", c.name, "delay", c.restartBO.Delay().String())
		}
		return left
	}
	c.restartBO.Next(c.current.FinishedAt, now)
	return 0
}

func (r *Runner) createAndStart(c *container, s *v1.Container, config *runtimeapi.ContainerConfig) time.Duration {
	ctx, cancel := context.WithTimeout(r.work, criTimeout)
	defer cancel()
	created, err := r.node.CRI.Runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: r.sandbox.id, Config: config, SandboxConfig: r.sandbox.config,
	})
	if err != nil {
		c.wait(status.ReasonCreateError, err.Error())
		r.event(v1.EventTypeWarning, "Failed", "Error: %s", err)
		r.log.Warn("create container", "container", c.name, "err", err)
		return sandboxRetry
	}
	r.replaceRun(c, s, created.ContainerId)
	r.event(v1.EventTypeNormal, "Created", "Created container: %s", c.name)
	if _, err := r.node.CRI.Runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		r.observeOne(c)
		c.current.Exited = true
		if c.current.FinishedAt.IsZero() {
			c.current.FinishedAt = time.Now()
		}
		if c.current.ExitCode == 0 {
			c.current.ExitCode, c.current.Reason = 128, "StartError"
		}
		c.current.Message = err.Error()
		c.wait(status.ReasonRunError, err.Error())
		r.event(v1.EventTypeWarning, "Failed", "Error: %s", err)
		r.log.Warn("start container", "container", c.name, "err", err)
		return sandboxRetry
	}
	r.observeOne(c)
	r.event(v1.EventTypeNormal, "Started", "Started container %s", c.name)
	r.log.Info("container started", "container", c.name, "id", created.ContainerId, "restarts", c.restarts)
	return 0
}

// replaceRun makes the new run the current one; the run before it is kept for its log and state,
// older ones are removed.
func (r *Runner) replaceRun(c *container, s *v1.Container, id string) {
	if c.last != nil {
		r.removeContainer(c.last.ID)
	}
	if c.current != nil {
		c.last = c.current
		c.restarts++
	}
	c.current = &status.Instance{ID: id, StartedAt: time.Now()}
	c.image = s.Image
	c.recreate, c.told = false, false
	c.wait("", "")
}

func (r *Runner) removeContainer(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout)
	defer cancel()
	if _, err := r.node.CRI.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		r.log.Warn("remove container", "id", id, "err", err)
	}
}

// attempt is the number of the next run, which names its log file.
func (c *container) attempt() int32 {
	if c.current == nil {
		return c.restarts
	}
	return c.restarts + 1
}

func (r *Runner) containerConfig(c *container, s *v1.Container, image *runtimeapi.Image) (*runtimeapi.ContainerConfig, error) {
	pod := r.current()
	services, err := r.node.Services.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	vars, err := env.Container(s, env.Source{
		Pod:         pod,
		Services:    services,
		ConfigMap:   r.node.ConfigMaps.ConfigMaps(pod.Namespace).Get,
		Secret:      r.node.Secrets.Secrets(pod.Namespace).Get,
		Allocatable: r.node.Allocatable,
		NoFieldRef:  r.node.Disabled.Lacks(feature.FieldRef),
		Resolved:    r.node.EnvResolved,
	})
	if err != nil {
		return nil, err
	}
	security, err := containerSecurity(pod, s, userOf(image))
	if err != nil {
		return nil, err
	}
	mounts, err := r.mounts(pod, c, s, vars)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(fmt.Sprintf("%s/%s", r.node.logDir(pod), c.name), 0o755); err != nil {
		return nil, err
	}
	restarts := c.attempt()
	return &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.name, Attempt: uint32(restarts)},
		Image:       &runtimeapi.ImageSpec{Image: image.Id, UserSpecifiedImage: s.Image},
		Command:     expandAll(s.Command, vars),
		Args:        expandAll(s.Args, vars),
		WorkingDir:  s.WorkingDir,
		Envs:        keyValues(vars),
		Mounts:      mounts,
		Labels:      cri.ContainerLabels(r.node.Name, pod, c.name),
		Annotations: cri.ContainerAnnotations(restarts),
		LogPath:     fmt.Sprintf("%s/%d.log", c.name, restarts),
		Stdin:       s.Stdin,
		StdinOnce:   s.StdinOnce,
		Tty:         s.TTY,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       linuxResources(pod, s, *r.node.Allocatable.Memory()),
			SecurityContext: security,
		},
	}, nil
}

func expandAll(texts []string, vars []env.Var) []string {
	values := make(map[string]string, len(vars))
	for _, v := range vars {
		values[v.Name] = v.Value
	}
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = env.Expand(text, func(name string) (string, bool) {
			value, known := values[name]
			return value, known
		})
	}
	return out
}

func keyValues(vars []env.Var) []*runtimeapi.KeyValue {
	out := make([]*runtimeapi.KeyValue, len(vars))
	for i, v := range vars {
		out[i] = &runtimeapi.KeyValue{Key: v.Name, Value: v.Value}
	}
	return out
}
