package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"probelet.io/lab/virtual-node/internal/feature"
)

// settings are the flags; see usage for what they mean.
type settings struct {
	nodeName, kubeconfig, criEndpoint, rootDir, nodeIP string
	listenPort                                         int
	certFile, keyFile, clientCA, apiAuth               string
	status, podCopy, env, disable                      string
	cgroupParent, providerTaint                        string
	deleteStopped                                      bool
	cpu, memory                                        string
	maxPods                                            int
	verbose                                            bool
}

const usage = `virtual-node: a Kubernetes node made with the upstream virtual-kubelet library. It runs the Pods bound
to it as real containers, through CRI, on the containerd of this machine.

  virtual-node --node-name=NAME --kubeconfig=FILE --cri-endpoint=SOCKET --root-dir=DIR --node-ip=IP [flags]

Flags:
`

func parseSettings(args []string, out io.Writer) (settings, feature.Set, error) {
	var s settings
	flags := flag.NewFlagSet("virtual-node", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&s.nodeName, "node-name", "", "name of the Node object (required)")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "how to reach the API server (required)")
	flags.StringVar(&s.criEndpoint, "cri-endpoint", "", "socket of the container runtime, CRI v1 (required)")
	flags.StringVar(&s.rootDir, "root-dir", "", "directory for everything of the Pods: pods/ has volumes, logs/ has logs (required)")
	flags.StringVar(&s.nodeIP, "node-ip", "", "the node's InternalIP, which the API server dials for logs and exec (required)")
	flags.IntVar(&s.listenPort, "listen-port", 10250, "port of the node's API (logs, exec, attach, port-forward)")
	flags.StringVar(&s.certFile, "tls-cert-file", "", "serving certificate; without it one is made at start")
	flags.StringVar(&s.keyFile, "tls-private-key-file", "", "key of --tls-cert-file")
	flags.StringVar(&s.apiAuth, "api-auth", "", "who may use the node's API: none (anyone), client-ca (a certificate by --client-ca-file), webhook (token and access reviews); default: client-ca with --client-ca-file, else none")
	flags.StringVar(&s.clientCA, "client-ca-file", "", "authority of client certificates")
	flags.StringVar(&s.status, "status", "push", "how the library learns of status: push (NotifyPods) or poll (its sync wrapper asks every 5 s)")
	flags.StringVar(&s.podCopy, "pod-copy", "created", "what is pushed back as metadata: created (labels and annotations as at creation, so each push reverts later edits, as real providers do) or updated (UpdatePod's are taken over)")
	flags.StringVar(&s.env, "env", "provider", "who computes variables: provider (kubelet's meaning) or library (upstream's resolution: a fieldRef to status or restartPolicy is refused, a resourceFieldRef is left out, and UpdatePod is called more often)")
	flags.StringVar(&s.disable, "disable", "", "comma-separated list of what this node shall lack: "+strings.Join(feature.All, ","))
	flags.BoolVar(&s.deleteStopped, "delete-stopped", true, "remove a deleted Pod's API object as soon as its containers have ended, as kubelet does; false leaves it to the library, which waits for the whole grace period")
	flags.StringVar(&s.cgroupParent, "cgroup-parent", "", "parent cgroup of the Pods, for example /lab; empty leaves it to the runtime")
	flags.StringVar(&s.providerTaint, "provider", "lab", "value of the taint virtual-kubelet.io/provider")
	flags.StringVar(&s.cpu, "cpu", "8", "capacity told to the scheduler")
	flags.StringVar(&s.memory, "memory", "16Gi", "capacity told to the scheduler")
	flags.IntVar(&s.maxPods, "max-pods", 200, "capacity told to the scheduler")
	flags.Bool("pods-cidr-less", true, "accepted for clarity: addresses come from CNI, the node has no podCIDR")
	flags.BoolVar(&s.verbose, "verbose", false, "log the library's debug lines too")
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.VisitAll(func(f *flag.Flag) {
			value := ""
			if f.DefValue != "" {
				value = " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(out, "  --%s\n        %s%s\n", f.Name, f.Usage, value)
		})
	}
	if err := flags.Parse(args); err != nil {
		return s, nil, err
	}
	if rest := flags.Args(); len(rest) > 0 {
		return s, nil, fmt.Errorf("unexpected argument %q: every setting is a flag", rest[0])
	}
	disabled, err := feature.Parse(s.disable)
	return s, disabled, errors.Join(err, s.check())
}

// check names every wrong flag at once.
func (s *settings) check() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"node-name", s.nodeName}, {"kubeconfig", s.kubeconfig}, {"cri-endpoint", s.criEndpoint}, {"root-dir", s.rootDir}, {"node-ip", s.nodeIP},
	} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("--%s is required", f.name))
		}
	}
	if s.nodeIP != "" && net.ParseIP(s.nodeIP) == nil {
		errs = append(errs, fmt.Errorf("--node-ip %q: want an IP address", s.nodeIP))
	}
	if s.listenPort < 1 || s.listenPort > 65535 {
		errs = append(errs, fmt.Errorf("--listen-port %d: want 1 to 65535", s.listenPort))
	}
	if (s.certFile == "") != (s.keyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file go together"))
	}
	if s.apiAuth == "" {
		s.apiAuth = authNone
		if s.clientCA != "" {
			s.apiAuth = authClientCA
		}
	}
	errs = append(errs,
		oneOf("api-auth", s.apiAuth, authNone, authClientCA, authWebhook),
		oneOf("status", s.status, statusPush, statusPoll),
		oneOf("pod-copy", s.podCopy, copyCreated, copyUpdated),
		oneOf("env", s.env, envProvider, envLibrary))
	if s.apiAuth == authClientCA && s.clientCA == "" {
		errs = append(errs, errors.New("--api-auth=client-ca needs --client-ca-file"))
	}
	if s.rootDir != "" {
		// Mounts are compared with the kernel's list, which knows absolute paths only.
		absolute, err := filepath.Abs(s.rootDir)
		errs = append(errs, err)
		s.rootDir = absolute
		errs = append(errs, os.MkdirAll(s.rootDir, 0o755))
	}
	return errors.Join(errs...)
}

const (
	authNone     = "none"
	authClientCA = "client-ca"
	authWebhook  = "webhook"
	statusPush   = "push"
	statusPoll   = "poll"
	copyCreated  = "created"
	copyUpdated  = "updated"
	envProvider  = "provider"
	envLibrary   = "library"
)

func oneOf(name, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("--%s %q: want %s", name, value, strings.Join(allowed, " or "))
}
