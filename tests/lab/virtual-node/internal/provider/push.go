package provider

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"

	"probelet.io/lab/virtual-node/internal/pod"
)

// Pushing is a Provider with NotifyPods: it hands the library its whole own copy of a Pod at each
// change of status, and the library writes that copy to the API as it is.
type Pushing struct{ *Provider }

// NotifyPods registers the library's callback.
func (p Pushing) NotifyPods(ctx context.Context, callback func(*v1.Pod)) {
	q := &pushQueue{dirty: map[string]*pod.Runner{}, wake: make(chan struct{}, 1)}
	p.notify = q.add
	go q.run(ctx, callback)
}

// pushQueue decouples runners from a callback that may block; a Pod that changes again before its
// turn is pushed once, in its newest form.
type pushQueue struct {
	mu    sync.Mutex
	dirty map[string]*pod.Runner
	wake  chan struct{}
}

func (q *pushQueue) add(r *pod.Runner) {
	q.mu.Lock()
	q.dirty[r.UID()] = r
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *pushQueue) run(ctx context.Context, callback func(*v1.Pod)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		q.mu.Lock()
		batch := q.dirty
		q.dirty = map[string]*pod.Runner{}
		q.mu.Unlock()
		for _, r := range batch {
			callback(r.Pod())
		}
	}
}
