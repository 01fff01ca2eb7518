package env

import (
	"fmt"
	"math"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resource gives the value of a resourceFieldRef. A limit that is not set is the node's
// allocatable, as kubelet does; other is used when the reference names no container.
func Resource(pod *v1.Pod, ref *v1.ResourceFieldSelector, other string, allocatable v1.ResourceList) (string, error) {
	name := ref.ContainerName
	if name == "" {
		name = other
	}
	c := findContainer(pod, name)
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef %q: no container %q", ref.Resource, name)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	kind, key, ok := splitResource(ref.Resource)
	if !ok {
		return "", fmt.Errorf("resourceFieldRef %q is not supported: want limits.NAME or requests.NAME", ref.Resource)
	}
	var quantity resource.Quantity
	if kind == "limits" {
		var set bool
		if quantity, set = c.Resources.Limits[key]; !set {
			quantity = allocatable[key]
		}
	} else {
		quantity = c.Resources.Requests[key]
	}
	if key == v1.ResourceCPU {
		return strconv.FormatInt(int64(math.Ceil(float64(quantity.MilliValue())/float64(divisor.MilliValue()))), 10), nil
	}
	return strconv.FormatInt(int64(math.Ceil(float64(quantity.Value())/float64(divisor.Value()))), 10), nil
}

func splitResource(text string) (kind string, key v1.ResourceName, ok bool) {
	for _, kind := range []string{"limits", "requests"} {
		if len(text) > len(kind)+1 && text[:len(kind)+1] == kind+"." {
			return kind, v1.ResourceName(text[len(kind)+1:]), true
		}
	}
	return "", "", false
}

func findContainer(pod *v1.Pod, name string) *v1.Container {
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
