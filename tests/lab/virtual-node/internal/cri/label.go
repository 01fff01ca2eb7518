package cri

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// Labels and annotations on sandboxes and containers. The io.kubernetes ones are kubelet's
// (kubernetes/kubernetes:staging/src/k8s.io/kubelet/pkg/types/labels.go), so that crictl shows
// the same columns on both kinds of node.
const (
	LabelNode          = "probelet.io/lab-node"
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	annotationRestartCount = "io.kubernetes.container.restartCount"
)

// SandboxLabels are the labels of a Pod's sandbox on this node: the Pod's own, overridden by the
// identity.
func SandboxLabels(node string, pod *v1.Pod) map[string]string {
	labels := make(map[string]string, len(pod.Labels)+4)
	for key, value := range pod.Labels {
		labels[key] = value
	}
	labels[LabelNode] = node
	labels[LabelPodName] = pod.Name
	labels[LabelPodNamespace] = pod.Namespace
	labels[LabelPodUID] = string(pod.UID)
	return labels
}

// ContainerLabels are the labels of one container.
func ContainerLabels(node string, pod *v1.Pod, container string) map[string]string {
	return map[string]string{
		LabelNode:          node,
		LabelPodName:       pod.Name,
		LabelPodNamespace:  pod.Namespace,
		LabelPodUID:        string(pod.UID),
		LabelContainerName: container,
	}
}

// ContainerAnnotations carry the restart count.
func ContainerAnnotations(restarts int32) map[string]string {
	return map[string]string{annotationRestartCount: strconv.Itoa(int(restarts))}
}
