package provider

import (
	"context"
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	"k8s.io/client-go/util/exec"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"probelet.io/lab/virtual-node/internal/crilog"
	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/stream"
)

// GetContainerLogs serves kubectl logs.
func (p *Provider) GetContainerLogs(ctx context.Context, namespace, name, container string, opts api.ContainerLogOpts) (io.ReadCloser, error) {
	r, err := p.find(namespace, name)
	if err != nil {
		return nil, err
	}
	path, running, err := r.Log(container, opts.Previous)
	if err != nil {
		return nil, errdefs.AsInvalidInput(err)
	}
	// The library cannot tell --tail=0 from no --tail.
	copyOpts := crilog.Options{
		Tail: -1, LimitBytes: opts.LimitBytes, Timestamps: opts.Timestamps, Follow: opts.Follow,
		Since: opts.SinceTime, Running: running,
	}
	if opts.Tail > 0 {
		copyOpts.Tail = opts.Tail
	}
	if opts.SinceSeconds > 0 {
		copyOpts.Since = time.Now().Add(-time.Duration(opts.SinceSeconds) * time.Second)
	}
	out, in := io.Pipe()
	go func() { in.CloseWithError(crilog.Copy(ctx, path, copyOpts, in)) }()
	return out, nil
}

// RunInContainer serves kubectl exec.
func (p *Provider) RunInContainer(ctx context.Context, namespace, name, container string, command []string, streams api.AttachIO) error {
	return p.inContainer(namespace, name, container, func(id string) error {
		return stream.Exec(ctx, p.node.CRI.Runtime, id, command, streams)
	})
}

// AttachToContainer serves kubectl attach.
func (p *Provider) AttachToContainer(ctx context.Context, namespace, name, container string, streams api.AttachIO) error {
	return p.inContainer(namespace, name, container, func(id string) error {
		return stream.Attach(ctx, p.node.CRI.Runtime, id, streams)
	})
}

func (p *Provider) inContainer(namespace, name, container string, run func(id string) error) error {
	if p.node.Disabled.Lacks(feature.Exec) {
		return errdefs.InvalidInput("this provider does not support exec")
	}
	r, err := p.find(namespace, name)
	if err != nil {
		return err
	}
	id, err := r.RunningID(container)
	if err != nil {
		return err
	}
	err = run(id)
	if code, ok := err.(exec.CodeExitError); ok {
		p.node.Log.Info("exec ended", "pod", key(namespace, name), "container", container, "code", code.Code)
	} else if err != nil {
		p.node.Log.Warn("exec", "pod", key(namespace, name), "container", container, "err", err)
	}
	return err
}

// PortForward serves kubectl port-forward.
func (p *Provider) PortForward(ctx context.Context, namespace, name string, port int32, data io.ReadWriteCloser) error {
	status, err := p.GetPodStatus(ctx, namespace, name)
	if err != nil {
		return err
	}
	return stream.Forward(ctx, status.PodIP, port, data)
}

// GetStatsSummary is not measured here.
func (p *Provider) GetStatsSummary(context.Context) (*statsv1alpha1.Summary, error) {
	return &statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{NodeName: p.node.Name}}, nil
}

// GetMetricsResource is not measured here.
func (p *Provider) GetMetricsResource(context.Context) ([]*dto.MetricFamily, error) {
	return nil, nil
}
