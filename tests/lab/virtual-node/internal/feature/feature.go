// Package feature names what a virtual node can be made to lack, as some real providers do.
package feature

import (
	"fmt"
	"slices"
	"strings"
)

// Features that --disable takes away.
const (
	Exec           = "exec"            // kubectl exec and attach answer an error
	PostStart      = "poststart"       // postStart hooks are not run
	PreStop        = "prestop"         // preStop hooks are not run
	Projected      = "projected"       // a projected volume is an empty directory
	DownwardVolume = "downward-volume" // downwardAPI volumes and projections are empty
	UpdatePod      = "update-pod"      // UpdatePod answers an error
	FieldRef       = "fieldref"        // variables by fieldRef and resourceFieldRef are left out
	NativeSidecar  = "native-sidecar"  // restartPolicy of an init container is not known: it blocks
)

// All lists every feature.
var All = []string{Exec, PostStart, PreStop, Projected, DownwardVolume, UpdatePod, FieldRef, NativeSidecar}

// Set holds the features that are taken away.
type Set map[string]bool

// Parse reads a comma-separated list. An unknown name is an error that lists the known ones.
func Parse(list string) (Set, error) {
	set := Set{}
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(All, name) {
			return nil, fmt.Errorf("--disable: unknown feature %q: want any of %s", name, strings.Join(All, ","))
		}
		set[name] = true
	}
	return set, nil
}

// Lacks says that the feature is taken away.
func (s Set) Lacks(name string) bool { return s[name] }

// String is the list, sorted.
func (s Set) String() string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}
