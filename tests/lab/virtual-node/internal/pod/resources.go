package pod

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	cpuPeriod      = 100_000 // microseconds
	minCPUQuota    = 1_000
	minCPUShares   = 2
	maxCPUShares   = 262_144
	guaranteedOOM  = -997
	bestEffortOOM  = 1_000
	milliPerCPU    = 1_000
	sharesPerCPU   = 1_024
	minBurstableOM = 1_000 + guaranteedOOM // a Burstable Pod never scores below this
)

// linuxResources turns requests and limits into the runtime's figures
// (kubernetes/kubernetes:pkg/kubelet/kuberuntime/kuberuntime_container_linux.go).
func linuxResources(pod *v1.Pod, c *v1.Container, memoryOfNode resource.Quantity) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{OomScoreAdj: oomScore(pod, c, memoryOfNode.Value())}
	request, asked := c.Resources.Requests[v1.ResourceCPU]
	limit, limited := c.Resources.Limits[v1.ResourceCPU]
	if !asked && limited {
		request = limit
	}
	out.CpuShares = min(max(request.MilliValue()*sharesPerCPU/milliPerCPU, minCPUShares), maxCPUShares)
	if limited && !limit.IsZero() {
		out.CpuPeriod = cpuPeriod
		out.CpuQuota = max(limit.MilliValue()*cpuPeriod/milliPerCPU, minCPUQuota)
	}
	if memory := c.Resources.Limits.Memory(); !memory.IsZero() {
		out.MemoryLimitInBytes = memory.Value()
	}
	return out
}

// oomScore follows kubernetes/kubernetes:pkg/kubelet/qos/policy.go.
func oomScore(pod *v1.Pod, c *v1.Container, nodeMemory int64) int64 {
	switch QOS(pod) {
	case v1.PodQOSGuaranteed:
		return guaranteedOOM
	case v1.PodQOSBestEffort:
		return bestEffortOOM
	}
	if nodeMemory == 0 {
		return bestEffortOOM - 1
	}
	score := bestEffortOOM - bestEffortOOM*c.Resources.Requests.Memory().Value()/nodeMemory
	return min(max(score, minBurstableOM), bestEffortOOM-1)
}

// QOS is the class of a Pod as the API server computes it.
func QOS(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	guaranteed, any := true, false
	for _, c := range append(append([]v1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			request, asked := c.Resources.Requests[name]
			limit, limited := c.Resources.Limits[name]
			any = any || asked || limited
			if !limited || asked && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !any:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}
