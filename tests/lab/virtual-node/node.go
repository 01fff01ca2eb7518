package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"time"

	vknode "github.com/virtual-kubelet/virtual-kubelet/node"
	"github.com/virtual-kubelet/virtual-kubelet/node/nodeutil"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"probelet.io/lab/virtual-node/internal/cri"
	"probelet.io/lab/virtual-node/internal/feature"
	"probelet.io/lab/virtual-node/internal/pod"
	"probelet.io/lab/virtual-node/internal/provider"
)

// The library cuts idle exec streams after 30 s by default; kubelet's own limit is this.
const streamIdleTimeout = 4 * time.Hour

// parts are what newNode wires together.
type parts struct {
	settings settings
	disabled feature.Set
	client   kubernetes.Interface
	runtime  *cri.Client
	events   record.EventRecorder
	log      *slog.Logger
}

// newNode wires the provider into the library's node. ctx bounds the life of the Pods' runners.
func newNode(ctx context.Context, in parts) (*nodeutil.Node, error) {
	capacity, err := capacityOf(in.settings)
	if err != nil {
		return nil, err
	}
	api, err := newServing(in.settings, in.client)
	if err != nil {
		return nil, err
	}
	shared := &pod.Node{
		Name: in.settings.nodeName, IP: in.settings.nodeIP, RootDir: in.settings.rootDir,
		CgroupParent: in.settings.cgroupParent, EnvResolved: in.settings.env == envLibrary,
		Disabled: in.disabled, Allocatable: capacity,
		CRI: in.runtime, Kube: in.client, Events: in.events, Log: in.log,
	}
	if err := pod.Clean(ctx, shared); err != nil {
		return nil, fmt.Errorf("clean what an earlier run left: %w", err)
	}
	mux := http.NewServeMux()
	newProvider := func(listers nodeutil.ProviderConfig) (nodeutil.Provider, vknode.NodeProvider, error) {
		shared.Pods, shared.ConfigMaps, shared.Secrets, shared.Services = listers.Pods, listers.ConfigMaps, listers.Secrets, listers.Services
		p := provider.New(ctx, shared, provider.Options{
			AdoptMetadata: in.settings.podCopy == copyUpdated,
			DeleteStopped: in.settings.deleteStopped,
		})
		if in.settings.status == statusPush {
			return provider.Pushing{Provider: p}, nil, nil
		}
		return p, nil, nil
	}
	configure := func(c *nodeutil.NodeConfig) error {
		describe(&c.NodeSpec, in.settings, capacity)
		c.Client = in.client
		c.HTTPListenAddr = net.JoinHostPort("", strconv.Itoa(in.settings.listenPort))
		c.Handler = api.protect(mux)
		c.TLSConfig = api.tls
		c.StreamIdleTimeout = streamIdleTimeout
		c.EventRecorder = in.events
		// The library resolves neither addresses nor resourceFieldRef.
		c.SkipDownwardAPIResolution = in.settings.env == envProvider
		return nil
	}
	return nodeutil.NewNode(in.settings.nodeName, newProvider, configure, nodeutil.AttachProviderRoutes(mux))
}

// describe completes the Node object. The library's own labels are type=virtual-kubelet,
// kubernetes.io/role=agent and kubernetes.io/hostname.
func describe(node *v1.Node, s settings, capacity v1.ResourceList) {
	node.Labels["kubernetes.io/os"] = runtime.GOOS
	node.Labels["kubernetes.io/arch"] = runtime.GOARCH
	node.Spec.Taints = []v1.Taint{{Key: "virtual-kubelet.io/provider", Value: s.providerTaint, Effect: v1.TaintEffectNoSchedule}}
	node.Status.Capacity = capacity
	node.Status.Allocatable = capacity
	node.Status.Addresses = []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: s.nodeIP},
		{Type: v1.NodeHostName, Address: s.nodeName},
	}
	node.Status.DaemonEndpoints = v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: int32(s.listenPort)}}
	node.Status.NodeInfo = v1.NodeSystemInfo{
		OperatingSystem:         runtime.GOOS,
		Architecture:            runtime.GOARCH,
		KubeletVersion:          "v1.34.3-vk-lab",
		ContainerRuntimeVersion: "containerd://cri-v1",
	}
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type != v1.NodeReady {
			node.Status.Conditions[i].Status = v1.ConditionFalse
		}
	}
}

func capacityOf(s settings) (v1.ResourceList, error) {
	cpu, err := resource.ParseQuantity(s.cpu)
	if err != nil {
		return nil, fmt.Errorf("--cpu %q: %w", s.cpu, err)
	}
	memory, err := resource.ParseQuantity(s.memory)
	if err != nil {
		return nil, fmt.Errorf("--memory %q: %w", s.memory, err)
	}
	return v1.ResourceList{
		v1.ResourceCPU: cpu, v1.ResourceMemory: memory,
		v1.ResourcePods:             *resource.NewQuantity(int64(s.maxPods), resource.DecimalSI),
		v1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}, nil
}
