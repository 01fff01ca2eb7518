//go:build tools

// Package etcd keeps the command that the lab builds in go.mod.
package etcd

import _ "go.etcd.io/etcd/server/v3/etcdmain"
