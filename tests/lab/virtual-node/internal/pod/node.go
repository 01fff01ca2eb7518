// Package pod runs one Pod through CRI as kubelet does: sandbox, volumes, containers, hooks,
// probes, restarts, status and graceful end.
package pod

import (
	"log/slog"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"probelet.io/lab/virtual-node/internal/cri"
	"probelet.io/lab/virtual-node/internal/feature"
)

// Node is what all Pods of the node share.
type Node struct {
	Name         string
	IP           string
	RootDir      string
	CgroupParent string
	Disabled     feature.Set
	Allocatable  v1.ResourceList
	// EnvResolved: Pods arrive with their variables computed by the library.
	EnvResolved bool

	CRI  *cri.Client
	Kube kubernetes.Interface

	Pods       corev1listers.PodLister
	ConfigMaps corev1listers.ConfigMapLister
	Secrets    corev1listers.SecretLister
	Services   corev1listers.ServiceLister

	Events record.EventRecorder
	Log    *slog.Logger
}

// podDir holds everything of one Pod but its logs.
func (n *Node) podDir(pod *v1.Pod) string {
	return filepath.Join(n.RootDir, "pods", string(pod.UID))
}

// logDir is laid out as kubelet's /var/log/pods.
func (n *Node) logDir(pod *v1.Pod) string {
	return filepath.Join(n.RootDir, "logs", pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}
