// Package provider is what the virtual-kubelet library drives: it keeps one runner for each Pod
// bound to the node.
package provider

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probelet.io/lab/virtual-node/internal/env"
	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/pod"
)

const defaultGrace = 30

// Options are the behaviours that differ between real providers.
type Options struct {
	// AdoptMetadata: UpdatePod takes labels and annotations into the provider's own copy.
	AdoptMetadata bool
	// DeleteStopped: the provider itself removes the API object of a deleted Pod as soon as its
	// containers have ended, as kubelet does; else the library does so after the grace period.
	DeleteStopped bool
}

// Provider is a node.PodLifecycleHandler without NotifyPods: the library's sync wrapper polls it.
type Provider struct {
	node    *pod.Node
	options Options
	ctx     context.Context
	updates atomic.Int64
	notify  func(*pod.Runner)

	mu sync.Mutex
	// byUID has every runner; byName the newest one under each namespace/name.
	byUID  map[string]*pod.Runner
	byName map[string]*pod.Runner
}

// New makes a provider whose runners work until ctx ends.
func New(ctx context.Context, node *pod.Node, options Options) *Provider {
	p := &Provider{
		node: node, options: options, ctx: ctx,
		byUID: map[string]*pod.Runner{}, byName: map[string]*pod.Runner{},
		notify: func(*pod.Runner) {},
	}
	go p.watchRuntime(ctx)
	return p
}

// CreatePod starts to run a Pod and returns at once.
func (p *Provider) CreatePod(_ context.Context, given *v1.Pod) error {
	if err := p.servicesKnown(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byUID[string(given.UID)] != nil {
		return nil
	}
	p.node.Log.Info("CreatePod", "pod", key(given.Namespace, given.Name), "uid", string(given.UID))
	r := pod.New(p.node, given.DeepCopy(), func(r *pod.Runner) { p.notify(r) })
	p.byUID[string(given.UID)] = r
	p.byName[key(given.Namespace, given.Name)] = r
	go func() {
		r.Run(p.ctx)
		if p.ctx.Err() == nil {
			p.forget(r)
		}
	}()
	p.notify(r)
	return nil
}

// UpdatePod follows an edit. A Pod that was replaced under its name is created instead: the library
// knows Pods by name alone.
func (p *Provider) UpdatePod(ctx context.Context, given *v1.Pod) error {
	count := p.updates.Add(1)
	p.node.Log.Info("UpdatePod", "pod", key(given.Namespace, given.Name), "uid", string(given.UID), "calls", count)
	if p.node.Disabled.Lacks(feature.UpdatePod) {
		return errdefs.InvalidInput("this provider does not support updating a pod")
	}
	p.mu.Lock()
	r := p.byUID[string(given.UID)]
	p.mu.Unlock()
	if r == nil {
		return p.CreatePod(ctx, given)
	}
	r.Update(given.DeepCopy(), p.options.AdoptMetadata)
	return nil
}

// DeletePod begins the graceful end of a Pod and returns at once.
func (p *Provider) DeletePod(_ context.Context, given *v1.Pod) error {
	p.mu.Lock()
	r := p.byUID[string(given.UID)]
	p.mu.Unlock()
	if r == nil {
		return errdefs.NotFoundf("pod %s is not known", key(given.Namespace, given.Name))
	}
	grace := int64(defaultGrace)
	switch {
	case given.DeletionGracePeriodSeconds != nil:
		grace = *given.DeletionGracePeriodSeconds
	case given.Spec.TerminationGracePeriodSeconds != nil:
		grace = *given.Spec.TerminationGracePeriodSeconds
	}
	r.Delete(grace)
	return nil
}

// GetPod answers the provider's own copy.
func (p *Provider) GetPod(_ context.Context, namespace, name string) (*v1.Pod, error) {
	r, err := p.find(namespace, name)
	if err != nil {
		return nil, err
	}
	return r.Pod(), nil
}

// GetPodStatus answers the present status.
func (p *Provider) GetPodStatus(_ context.Context, namespace, name string) (*v1.PodStatus, error) {
	r, err := p.find(namespace, name)
	if err != nil {
		return nil, err
	}
	return r.Status(), nil
}

// GetPods answers all Pods.
func (p *Provider) GetPods(context.Context) ([]*v1.Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*v1.Pod, 0, len(p.byUID))
	for _, r := range p.byUID {
		out = append(out, r.Pod())
	}
	return out, nil
}

// Updates is how often UpdatePod was called.
func (p *Provider) Updates() int64 { return p.updates.Load() }

func (p *Provider) find(namespace, name string) (*pod.Runner, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.byName[key(namespace, name)]; r != nil {
		return r, nil
	}
	return nil, errdefs.NotFoundf("pod %s is not known", key(namespace, name))
}

// forget drops a Pod that is gone from the runtime, and removes its API object where asked to.
func (p *Provider) forget(r *pod.Runner) {
	last := r.Pod()
	if p.options.DeleteStopped {
		p.deleteObject(last)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byUID, string(last.UID))
	if name := key(last.Namespace, last.Name); p.byName[name] == r {
		delete(p.byName, name)
	}
}

func (p *Provider) deleteObject(last *v1.Pod) {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	p.waitForFinalStatus(ctx, last)
	opts := metav1.NewDeleteOptions(0)
	opts.Preconditions = metav1.NewUIDPreconditions(string(last.UID))
	err := p.node.Kube.CoreV1().Pods(last.Namespace).Delete(ctx, last.Name, *opts)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		p.node.Log.Warn("delete object", "pod", key(last.Namespace, last.Name), "err", err)
	}
}

// waitForFinalStatus gives the last status a moment to reach the API before the object goes.
func (p *Provider) waitForFinalStatus(ctx context.Context, last *v1.Pod) {
	limit := time.After(time.Second)
	for {
		seen, err := p.node.Pods.Pods(last.Namespace).Get(last.Name)
		if err != nil || seen.UID != last.UID || seen.Status.Phase == v1.PodSucceeded || seen.Status.Phase == v1.PodFailed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-limit:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// servicesKnown: the library starts Pods before its Service cache has filled; without the API
// server's Service a Pod would lack KUBERNETES_SERVICE_HOST for good. The library tries again.
func (p *Provider) servicesKnown() error {
	limit := time.Now().Add(10 * time.Second)
	for {
		_, err := p.node.Services.Services(v1.NamespaceDefault).Get(env.MasterService)
		if err == nil {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the Service %s/%s is not known yet: %w", v1.NamespaceDefault, env.MasterService, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func key(namespace, name string) string { return namespace + "/" + name }
