package pod

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func ptr[T any](v T) *T { return &v }

func TestTheContainersSettingsWinOverThePods(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{SecurityContext: &v1.PodSecurityContext{
		RunAsUser: ptr(int64(1)), RunAsGroup: ptr(int64(2)), FSGroup: ptr(int64(3)), SupplementalGroups: []int64{4},
		SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault},
	}}}
	c := &v1.Container{SecurityContext: &v1.SecurityContext{
		RunAsUser: ptr(int64(9)), AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
		Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}},
	}}
	got, err := containerSecurity(pod, c, imageUser{})
	if err != nil {
		t.Fatal(err)
	}
	if got.RunAsUser.Value != 9 || got.RunAsGroup.Value != 2 || !got.NoNewPrivs || !got.ReadonlyRootfs ||
		got.Capabilities.DropCapabilities[0] != "ALL" || got.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault ||
		len(got.SupplementalGroups) != 2 || len(got.MaskedPaths) == 0 {
		t.Fatalf("got %+v", got)
	}
}

func TestRunAsNonRoot(t *testing.T) {
	cases := []struct {
		name  string
		user  *int64
		image imageUser
		want  string
	}{
		{"a user is given", ptr(int64(7)), imageUser{uid: ptr(int64(0))}, ""},
		{"root is given", ptr(int64(0)), imageUser{}, "runAsUser breaks non-root policy"},
		{"the image is root's", nil, imageUser{uid: ptr(int64(0))}, "image will run as root"},
		{"the image has a name", nil, imageUser{name: "app"}, "non-numeric user (app)"},
		{"the image has a number", nil, imageUser{uid: ptr(int64(5))}, ""},
	}
	for _, c := range cases {
		container := &v1.Container{Name: "m", SecurityContext: &v1.SecurityContext{RunAsUser: c.user, RunAsNonRoot: ptr(true)}}
		_, err := containerSecurity(&v1.Pod{}, container, c.image)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}
}

func TestLinuxResources(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
	}
	node := resource.MustParse("10Gi")
	cases := []struct {
		name      string
		resources v1.ResourceRequirements
		want      *runtimeapi.LinuxContainerResources
	}{
		{"best effort", v1.ResourceRequirements{}, &runtimeapi.LinuxContainerResources{CpuShares: 2, OomScoreAdj: 1000}},
		{"guaranteed", v1.ResourceRequirements{Requests: list("1", "1Gi"), Limits: list("1", "1Gi")},
			&runtimeapi.LinuxContainerResources{CpuShares: 1024, CpuPeriod: 100000, CpuQuota: 100000, MemoryLimitInBytes: 1 << 30, OomScoreAdj: -997}},
		{"burstable", v1.ResourceRequirements{Requests: list("100m", "1Gi"), Limits: list("5m", "2Gi")},
			&runtimeapi.LinuxContainerResources{CpuShares: 102, CpuPeriod: 100000, CpuQuota: 1000, MemoryLimitInBytes: 2 << 30, OomScoreAdj: 900}},
	}
	for _, c := range cases {
		pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: c.resources}}}}
		got := linuxResources(pod, &pod.Spec.Containers[0], node)
		if got.CpuShares != c.want.CpuShares || got.CpuPeriod != c.want.CpuPeriod || got.CpuQuota != c.want.CpuQuota ||
			got.MemoryLimitInBytes != c.want.MemoryLimitInBytes || got.OomScoreAdj != c.want.OomScoreAdj {
			t.Errorf("%s: want %+v, got %+v", c.name, c.want, got)
		}
	}
}
