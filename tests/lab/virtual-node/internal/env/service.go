package env

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// MasterService is the Service every Pod gets variables of, in whatever namespace it runs.
const MasterService = "kubernetes"

// Services gives the variables for the Services a Pod of this namespace sees: the API server's
// always, those of its own namespace when links are on
// (kubernetes/kubernetes:pkg/kubelet/envvars/envvars.go).
func Services(all []*v1.Service, namespace string, links bool) map[string]string {
	seen := map[string]*v1.Service{}
	for _, s := range all {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == v1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		switch {
		case s.Namespace == namespace && links:
			seen[s.Name] = s
		case s.Namespace == v1.NamespaceDefault && s.Name == MasterService && seen[s.Name] == nil:
			seen[s.Name] = s
		}
	}
	vars := map[string]string{}
	for _, s := range seen {
		addService(vars, s)
	}
	return vars
}

func addService(vars map[string]string, s *v1.Service) {
	name := variableName(s.Name)
	host := s.Spec.ClusterIP
	vars[name+"_SERVICE_HOST"] = host
	vars[name+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i, port := range s.Spec.Ports {
		number := strconv.Itoa(int(port.Port))
		if port.Name != "" {
			vars[name+"_SERVICE_PORT_"+variableName(port.Name)] = number
		}
		protocol := string(port.Protocol)
		if protocol == "" {
			protocol = string(v1.ProtocolTCP)
		}
		url := fmt.Sprintf("%s://%s", strings.ToLower(protocol), net.JoinHostPort(host, number))
		prefix := fmt.Sprintf("%s_PORT_%s_%s", name, number, strings.ToUpper(protocol))
		if i == 0 {
			vars[name+"_PORT"] = url
		}
		vars[prefix] = url
		vars[prefix+"_PROTO"] = strings.ToLower(protocol)
		vars[prefix+"_PORT"] = number
		vars[prefix+"_ADDR"] = host
	}
}

func variableName(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
