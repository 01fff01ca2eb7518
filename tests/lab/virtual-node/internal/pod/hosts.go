package pod

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
)

func hostsPath(node *Node, pod *v1.Pod) string { return filepath.Join(node.podDir(pod), "etc-hosts") }

// writeHosts makes the file that every container of the Pod sees as /etc/hosts.
func writeHosts(node *Node, pod *v1.Pod, ips []string) error {
	if err := os.MkdirAll(node.podDir(pod), 0o750); err != nil {
		return err
	}
	content := hostsFile(pod, ips)
	if pod.Spec.HostNetwork {
		own, err := os.ReadFile("/etc/hosts")
		if err != nil {
			return err
		}
		content = string(own) + aliases(pod)
	}
	path := hostsPath(node, pod)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

func hostsFile(pod *v1.Pod, ips []string) string {
	var text strings.Builder
	text.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
	for _, ip := range ips {
		fmt.Fprintf(&text, "%s\t%s\n", ip, hostname(pod))
	}
	return text.String() + aliases(pod)
}

func aliases(pod *v1.Pod) string {
	var text strings.Builder
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&text, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
	}
	return text.String()
}
