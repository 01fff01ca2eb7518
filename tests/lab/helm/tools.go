//go:build tools

// Package helm keeps the commands that the lab builds in go.mod.
package helm

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "helm.sh/helm/v3/cmd/helm"
)
