package pod

import (
	"context"
	"os"
	"path/filepath"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"probelet.io/lab/virtual-node/internal/cri"
	"probelet.io/lab/virtual-node/internal/volume"
)

const labelUID = cri.LabelPodUID

// RemoveSandboxes stops and removes the sandboxes with these labels, and with them their containers.
// It answers how many there were.
func RemoveSandboxes(ctx context.Context, node *Node, selector map[string]string) int {
	answer, err := node.CRI.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{LabelSelector: selector},
	})
	if err != nil {
		node.Log.Warn("list sandboxes", "err", err)
		return 0
	}
	for _, s := range answer.Items {
		if _, err := node.CRI.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			node.Log.Warn("stop sandbox", "sandbox", s.Id, "err", err)
		}
		if _, err := node.CRI.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			node.Log.Warn("remove sandbox", "sandbox", s.Id, "err", err)
		}
	}
	return len(answer.Items)
}

// Clean removes what an earlier run of this node left: sandboxes and containers with its label,
// mounts and directories below its root.
func Clean(ctx context.Context, node *Node) error {
	found := RemoveSandboxes(ctx, node, map[string]string{cri.LabelNode: node.Name})
	if found > 0 {
		node.Log.Info("removed what an earlier run left", "sandboxes", found)
	}
	if err := volume.RemoveTree(filepath.Join(node.RootDir, "pods")); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(node.RootDir, "logs"))
}
