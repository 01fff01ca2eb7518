package provider

import (
	"context"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/cri"
)

// How often the runtime is asked what changed. containerd 1.6 has no event stream for this.
const relistEvery = 200 * time.Millisecond

// watchRuntime wakes the runner of each Pod whose containers or sandbox changed their state.
func (p *Provider) watchRuntime(ctx context.Context) {
	before := map[string]string{}
	ticker := time.NewTicker(relistEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := p.relist(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.node.Log.Warn("list the runtime", "err", err)
			}
			continue
		}
		p.mu.Lock()
		for uid, r := range p.byUID {
			if now[uid] != before[uid] {
				r.Wake()
			}
		}
		p.mu.Unlock()
		before = now
	}
}

// relist sums up the states of everything of this node, by Pod UID.
func (p *Provider) relist(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	own := map[string]string{cri.LabelNode: p.node.Name}
	containers, err := p.node.CRI.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: own}})
	if err != nil {
		return nil, err
	}
	sandboxes, err := p.node.CRI.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: own}})
	if err != nil {
		return nil, err
	}
	states := map[string]map[string]int32{}
	note := func(uid, id string, state int32) {
		if states[uid] == nil {
			states[uid] = map[string]int32{}
		}
		states[uid][id] = state
	}
	for _, c := range containers.Containers {
		note(c.Labels[cri.LabelPodUID], c.Id, int32(c.State))
	}
	for _, s := range sandboxes.Items {
		note(s.Labels[cri.LabelPodUID], s.Id, int32(s.State))
	}
	out := make(map[string]string, len(states))
	for uid, byID := range states {
		// Maps print in the order of their keys.
		out[uid] = fmt.Sprint(byID)
	}
	return out, nil
}
