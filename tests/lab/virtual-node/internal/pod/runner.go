package pod

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/plan"
	"probelet.io/lab/virtual-node/internal/volume"
)

// How long a Pod is left alone when nothing wakes it: volumes are refreshed at this pace.
const idleEvery = 5 * time.Second

// Runner owns one Pod. One goroutine (Run) does all the work; the other methods may be called from
// anywhere.
type Runner struct {
	node    *Node
	log     *slog.Logger
	volumes *volume.Set
	changed func(*Runner)
	wake    chan struct{}

	// work ends when the deletion is asked for, so that a pull, a hook or a wait is cut short.
	work    context.Context
	endWork context.CancelFunc
	done    chan struct{}

	mu sync.Mutex
	// pod is the provider's own copy: metadata as it was given, see Update.
	pod *v1.Pod
	// latest carries the newest labels and annotations, for volumes.
	latest *v1.Pod
	status v1.PodStatus
	grace  *int64
	health map[string]*health

	// Below: Run's goroutine only.
	started    time.Time
	sandbox    sandbox
	containers []*container
	mounted    bool
	terminal   bool
	failed     *failure
}

type failure struct{ reason, message string }

// New prepares a Pod; Run starts it. changed is called after each change of its status.
func New(node *Node, pod *v1.Pod, changed func(*Runner)) *Runner {
	r := &Runner{
		node:    node,
		log:     node.Log.With("pod", pod.Namespace+"/"+pod.Name, "uid", string(pod.UID)),
		changed: changed,
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		pod:     pod,
		latest:  pod,
		health:  map[string]*health{},
		started: time.Now().Truncate(time.Second),
	}
	r.work, r.endWork = context.WithCancel(context.Background())
	r.volumes = volume.NewSet(filepath.Join(node.podDir(pod), "volumes"), volume.Source{
		ConfigMap:   node.ConfigMaps.ConfigMaps(pod.Namespace).Get,
		Secret:      node.Secrets.Secrets(pod.Namespace).Get,
		Tokens:      volume.NewTokens(node.Kube),
		Allocatable: node.Allocatable,
		NoProjected: node.Disabled.Lacks(feature.Projected),
		NoDownward:  node.Disabled.Lacks(feature.DownwardVolume),
	})
	r.addContainers()
	r.status = r.computeStatus()
	return r
}

func (r *Runner) addContainers() {
	for i := range r.pod.Spec.InitContainers {
		c := &r.pod.Spec.InitContainers[i]
		kind := plan.KindOfInit(c)
		if r.node.Disabled.Lacks(feature.NativeSidecar) {
			kind = plan.Init
		}
		r.containers = append(r.containers, r.newContainer(c.Name, kind))
	}
	for i := range r.pod.Spec.Containers {
		r.containers = append(r.containers, r.newContainer(r.pod.Spec.Containers[i].Name, plan.Main))
	}
}

// Run works until the Pod is deleted and gone from the runtime, or ctx ends (which leaves the
// containers running).
func (r *Runner) Run(ctx context.Context) {
	defer close(r.done)
	defer r.endWork()
	stop := context.AfterFunc(ctx, r.endWork)
	defer stop()
	for {
		if ctx.Err() != nil {
			return
		}
		if r.deleting() != nil {
			r.terminate(ctx)
			return
		}
		next := r.sync()
		r.publish()
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-time.After(next):
		}
	}
}

// Wake asks for a look at the runtime soon.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Done is closed when Run has ended.
func (r *Runner) Done() <-chan struct{} { return r.done }

// UID names the Pod for good.
func (r *Runner) UID() string { return string(r.snapshot().UID) }

// Pod is a copy of the provider's own Pod with its present status.
func (r *Runner) Pod() *v1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.pod.DeepCopy()
	r.status.DeepCopyInto(&out.Status)
	return out
}

// Status is a copy of the present status.
func (r *Runner) Status() *v1.PodStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.DeepCopy()
}

// Update takes a newer version of the Pod: volumes follow its metadata and containers its images.
// adoptMetadata decides whether labels and annotations enter the own copy too; where they do not,
// each pushed status reverts them in the API, as several real providers do.
func (r *Runner) Update(pod *v1.Pod, adoptMetadata bool) {
	r.mu.Lock()
	r.latest = pod
	own := r.pod.DeepCopy()
	if adoptMetadata {
		pod.ObjectMeta.DeepCopyInto(&own.ObjectMeta)
	}
	// What the API lets change in a running Pod.
	spec := pod.Spec.DeepCopy()
	own.Spec.Tolerations = spec.Tolerations
	own.Spec.ActiveDeadlineSeconds = spec.ActiveDeadlineSeconds
	if len(spec.Containers) == len(own.Spec.Containers) && len(spec.InitContainers) == len(own.Spec.InitContainers) {
		own.Spec.Containers = spec.Containers
		own.Spec.InitContainers = spec.InitContainers
	}
	r.pod = own
	r.mu.Unlock()
	r.Wake()
}

// Delete asks for a graceful end within grace seconds. A second call can only shorten it.
func (r *Runner) Delete(grace int64) {
	r.mu.Lock()
	first := r.grace == nil
	shorter := first || grace < *r.grace
	if shorter {
		r.grace = &grace
	}
	r.mu.Unlock()
	if first {
		r.log.Info("deletion asked", "grace", grace)
		r.endWork()
		r.Wake()
	} else if shorter {
		r.log.Info("deletion hastened", "grace", grace)
		go r.hasten(grace)
	}
}

func (r *Runner) deleting() *int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grace
}

// snapshot is the own copy; it is never changed in place.
func (r *Runner) snapshot() *v1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pod
}

// current is the Pod with the newest metadata and the present addresses, for variables and volumes.
func (r *Runner) current() *v1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.pod.DeepCopy()
	out.Labels = r.latest.Labels
	out.Annotations = r.latest.Annotations
	out.Status = v1.PodStatus{HostIP: r.node.IP, HostIPs: []v1.HostIP{{IP: r.node.IP}}}
	for i, ip := range r.sandbox.ips {
		if i == 0 {
			out.Status.PodIP = ip
		}
		out.Status.PodIPs = append(out.Status.PodIPs, v1.PodIP{IP: ip})
	}
	return out
}

func (r *Runner) event(kind, reason, format string, args ...any) {
	pod := r.snapshot()
	ref := &v1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: *pod.ObjectMeta.DeepCopy()}
	r.node.Events.Eventf(ref, kind, reason, format, args...)
}
