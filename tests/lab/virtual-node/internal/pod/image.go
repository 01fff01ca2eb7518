package pod

import (
	"context"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/backoff"
	"probelet.io/lab/virtual-node/internal/status"
)

// pullState is the back-off of a container's image.
type pullState struct {
	backoff backoff.Backoff
	failed  time.Time
	message string
}

// ensureImage finds the image at the runtime or pulls it, as the policy says. Without an image it
// answers nil and when to try again; the waiting reason is set.
func (r *Runner) ensureImage(c *container, s *v1.Container) (*runtimeapi.Image, time.Duration) {
	ctx, cancel := context.WithTimeout(r.work, criTimeout)
	defer cancel()
	policy := pullPolicy(s)
	if policy != v1.PullAlways {
		if image := r.findImage(ctx, s.Image); image != nil {
			r.event(v1.EventTypeNormal, "Pulled", "Container image %q already present on machine", s.Image)
			return image, 0
		}
	}
	if policy == v1.PullNever {
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", s.Image)
		c.wait(status.ReasonImageNeverPull, message)
		r.event(v1.EventTypeWarning, status.ReasonImageNeverPull, "%s", message)
		return nil, backoff.Initial
	}
	now := time.Now()
	if left := c.pull.backoff.Remaining(c.pull.failed, now); left > 0 {
		c.wait(status.ReasonImageBackOff, fmt.Sprintf("Back-off pulling image %q: %s", s.Image, c.pull.message))
		return nil, left
	}
	_, err := r.node.CRI.Images.PullImage(ctx, &runtimeapi.PullImageRequest{
		Image: &runtimeapi.ImageSpec{Image: s.Image}, SandboxConfig: r.sandbox.config,
	})
	if err != nil {
		c.pull.backoff.Next(now, now)
		c.pull.failed = time.Now()
		c.pull.message = fmt.Sprintf("failed to pull image %q: %v", s.Image, err)
		c.wait(status.ReasonImagePull, c.pull.message)
		r.event(v1.EventTypeWarning, "Failed", "%s", c.pull.message)
		r.log.Warn("pull image", "container", c.name, "image", s.Image, "err", err)
		return nil, sandboxRetry
	}
	c.pull = pullState{}
	r.event(v1.EventTypeNormal, "Pulled", "Successfully pulled image %q", s.Image)
	return r.findImage(ctx, s.Image), sandboxRetry
}

func (r *Runner) findImage(ctx context.Context, name string) *runtimeapi.Image {
	answer, err := r.node.CRI.Images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil {
		r.log.Warn("image status", "image", name, "err", err)
		return nil
	}
	return answer.Image
}

// pullPolicy defaults as the API server does, for Pods that carry none.
func pullPolicy(s *v1.Container) v1.PullPolicy {
	if s.ImagePullPolicy != "" {
		return s.ImagePullPolicy
	}
	name := s.Image[strings.LastIndex(s.Image, "/")+1:]
	if !strings.ContainsAny(name, ":@") || strings.HasSuffix(name, ":latest") {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

func userOf(image *runtimeapi.Image) imageUser {
	user := imageUser{name: image.Username}
	if image.Uid != nil {
		user.uid = &image.Uid.Value
	} else if image.Username == "" {
		root := int64(0)
		user.uid = &root
	}
	return user
}
