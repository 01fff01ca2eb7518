package pod

import (
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Kubelet's defaults for containers that are not privileged
// (kubernetes/kubernetes:pkg/securitycontext/util.go).
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func namespaces(pod *v1.Pod) *runtimeapi.NamespaceOption {
	mode := func(host bool, otherwise runtimeapi.NamespaceMode) runtimeapi.NamespaceMode {
		if host {
			return runtimeapi.NamespaceMode_NODE
		}
		return otherwise
	}
	own := runtimeapi.NamespaceMode_CONTAINER
	if pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace {
		own = runtimeapi.NamespaceMode_POD
	}
	return &runtimeapi.NamespaceOption{
		Network: mode(pod.Spec.HostNetwork, runtimeapi.NamespaceMode_POD),
		Pid:     mode(pod.Spec.HostPID, own),
		Ipc:     mode(pod.Spec.HostIPC, runtimeapi.NamespaceMode_POD),
	}
}

func sandboxSecurity(pod *v1.Pod) *runtimeapi.LinuxSandboxSecurityContext {
	out := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaces(pod),
		Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	for _, c := range append(append([]v1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		if c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged {
			out.Privileged = true
		}
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		if sc.RunAsUser != nil {
			out.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
		}
		if sc.RunAsGroup != nil && sc.RunAsUser != nil {
			out.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
		}
		out.SupplementalGroups = groups(sc)
	}
	return out
}

// imageUser is whom the image says to run as: a number, or a name.
type imageUser struct {
	uid  *int64
	name string
}

// containerSecurity merges the Pod's and the container's settings
// (kubernetes/kubernetes:pkg/securitycontext/util.go, DetermineEffectiveSecurityContext).
func containerSecurity(pod *v1.Pod, c *v1.Container, image imageUser) (*runtimeapi.LinuxContainerSecurityContext, error) {
	podSC, own := pod.Spec.SecurityContext, c.SecurityContext
	if podSC == nil {
		podSC = &v1.PodSecurityContext{}
	}
	if own == nil {
		own = &v1.SecurityContext{}
	}
	user := first(own.RunAsUser, podSC.RunAsUser)
	if err := checkNonRoot(c, first(own.RunAsNonRoot, podSC.RunAsNonRoot), user, image); err != nil {
		return nil, err
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions:   namespaces(pod),
		Privileged:         value(own.Privileged),
		ReadonlyRootfs:     value(own.ReadOnlyRootFilesystem),
		NoNewPrivs:         own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation,
		SupplementalGroups: groups(podSC),
		Seccomp:            seccomp(first(own.SeccompProfile, podSC.SeccompProfile)),
	}
	switch {
	case user != nil:
		out.RunAsUser = &runtimeapi.Int64Value{Value: *user}
	case image.uid != nil:
		out.RunAsUser = &runtimeapi.Int64Value{Value: *image.uid}
	default:
		out.RunAsUsername = image.name
	}
	if group := first(own.RunAsGroup, podSC.RunAsGroup); group != nil {
		out.RunAsGroup = &runtimeapi.Int64Value{Value: *group}
	}
	if own.Capabilities != nil {
		out.Capabilities = &runtimeapi.Capability{}
		for _, name := range own.Capabilities.Add {
			out.Capabilities.AddCapabilities = append(out.Capabilities.AddCapabilities, string(name))
		}
		for _, name := range own.Capabilities.Drop {
			out.Capabilities.DropCapabilities = append(out.Capabilities.DropCapabilities, string(name))
		}
	}
	if !out.Privileged && (own.ProcMount == nil || *own.ProcMount == v1.DefaultProcMount) {
		out.MaskedPaths, out.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	return out, nil
}

// checkNonRoot keeps runAsNonRoot (kubernetes/kubernetes:pkg/kubelet/kuberuntime/security_context.go).
func checkNonRoot(c *v1.Container, wanted *bool, user *int64, image imageUser) error {
	switch {
	case !value(wanted):
		return nil
	case user != nil && *user == 0:
		return fmt.Errorf("container %q: runAsUser breaks non-root policy", c.Name)
	case user != nil:
		return nil
	case image.uid != nil && *image.uid == 0:
		return fmt.Errorf("container %q has runAsNonRoot and image will run as root", c.Name)
	case image.uid == nil && image.name != "":
		return fmt.Errorf("container %q has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", c.Name, image.name)
	}
	return nil
}

func seccomp(profile *v1.SeccompProfile) *runtimeapi.SecurityProfile {
	if profile == nil {
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	}
	switch profile.Type {
	case v1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	case v1.SeccompProfileTypeLocalhost:
		name := ""
		if profile.LocalhostProfile != nil {
			name = *profile.LocalhostProfile
		}
		return &runtimeapi.SecurityProfile{
			ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join("/var/lib/kubelet/seccomp", name),
		}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
}

func groups(sc *v1.PodSecurityContext) []int64 {
	out := append([]int64{}, sc.SupplementalGroups...)
	if sc.FSGroup != nil {
		out = append(out, *sc.FSGroup)
	}
	return out
}

func first[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

func value(b *bool) bool { return b != nil && *b }
