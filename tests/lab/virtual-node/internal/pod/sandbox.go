package pod

import (
	"context"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/cri"
)

const (
	criTimeout     = 2 * time.Minute
	maxHostname    = 63
	sandboxRetry   = 2 * time.Second
	defaultGrace   = 30
	minGraceToStop = 2
)

// sandbox is the Pod's network and the parent of its containers. The zero value is none.
type sandbox struct {
	id      string
	attempt uint32
	ips     []string
	config  *runtimeapi.PodSandboxConfig
}

// ensureSandbox gives the Pod a network: the runtime calls CNI in RunPodSandbox.
func (r *Runner) ensureSandbox() error {
	if r.sandbox.id != "" {
		return nil
	}
	pod := r.snapshot()
	if err := os.MkdirAll(r.node.logDir(pod), 0o755); err != nil {
		return err
	}
	config := sandboxConfig(r.node, pod, r.sandbox.attempt)
	ctx, cancel := context.WithTimeout(r.work, criTimeout)
	defer cancel()
	answer, err := r.node.CRI.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	id := answer.PodSandboxId
	ips := []string{r.node.IP}
	if !pod.Spec.HostNetwork {
		state, err := r.node.CRI.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		if err != nil {
			return err
		}
		ips = sandboxIPs(state.Status)
		if len(ips) == 0 {
			return fmt.Errorf("sandbox %s has no address: look at the CNI configuration", id)
		}
	}
	r.mu.Lock()
	r.sandbox.id, r.sandbox.ips, r.sandbox.config = id, ips, config
	r.mu.Unlock()
	r.log.Info("sandbox runs", "sandbox", id, "ips", ips)
	return writeHosts(r.node, pod, ips)
}

func sandboxIPs(status *runtimeapi.PodSandboxStatus) []string {
	if status == nil || status.Network == nil || status.Network.Ip == "" {
		return nil
	}
	ips := []string{status.Network.Ip}
	for _, more := range status.Network.AdditionalIps {
		ips = append(ips, more.Ip)
	}
	return ips
}

func sandboxConfig(node *Node, pod *v1.Pod, attempt uint32) *runtimeapi.PodSandboxConfig {
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt,
		},
		Hostname:     hostname(pod),
		LogDirectory: node.logDir(pod),
		Labels:       cri.SandboxLabels(node.Name, pod),
		Annotations:  pod.Annotations,
		DnsConfig:    dnsConfig(pod),
		PortMappings: portMappings(pod),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			SecurityContext: sandboxSecurity(pod),
			Sysctls:         sysctls(pod),
		},
	}
	if node.CgroupParent != "" {
		config.Linux.CgroupParent = node.CgroupParent + "/pod" + string(pod.UID)
	}
	return config
}

func hostname(pod *v1.Pod) string {
	if pod.Spec.HostNetwork {
		return ""
	}
	name := pod.Name
	if pod.Spec.Hostname != "" {
		name = pod.Spec.Hostname
	}
	if len(name) > maxHostname {
		name = name[:maxHostname]
	}
	return name
}

// dnsConfig: without a cluster DNS address every policy but None means the machine's own.
func dnsConfig(pod *v1.Pod) *runtimeapi.DNSConfig {
	if pod.Spec.DNSConfig == nil {
		return nil
	}
	config := &runtimeapi.DNSConfig{Servers: pod.Spec.DNSConfig.Nameservers, Searches: pod.Spec.DNSConfig.Searches}
	for _, option := range pod.Spec.DNSConfig.Options {
		text := option.Name
		if option.Value != nil {
			text += ":" + *option.Value
		}
		config.Options = append(config.Options, text)
	}
	return config
}

func portMappings(pod *v1.Pod) []*runtimeapi.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []*runtimeapi.PortMapping
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort == 0 {
				continue
			}
			protocol := runtimeapi.Protocol(runtimeapi.Protocol_value[string(port.Protocol)])
			out = append(out, &runtimeapi.PortMapping{
				Protocol: protocol, ContainerPort: port.ContainerPort, HostPort: port.HostPort, HostIp: port.HostIP,
			})
		}
	}
	return out
}

func sysctls(pod *v1.Pod) map[string]string {
	out := map[string]string{}
	if pod.Spec.SecurityContext != nil {
		for _, s := range pod.Spec.SecurityContext.Sysctls {
			out[s.Name] = s.Value
		}
	}
	return out
}
