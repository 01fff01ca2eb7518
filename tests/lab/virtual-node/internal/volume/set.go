package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Source is what volumes are filled from.
type Source struct {
	ConfigMap   func(name string) (*v1.ConfigMap, error)
	Secret      func(name string) (*v1.Secret, error)
	Tokens      *Tokens
	Allocatable v1.ResourceList
	// NoProjected and NoDownward: the node lacks these kinds; such a volume is an empty directory.
	NoProjected, NoDownward bool
}

// Set is the volumes of one Pod below one directory.
type Set struct {
	dir    string
	source Source
}

// NewSet keeps the volumes of one Pod in dir.
func NewSet(dir string, source Source) *Set { return &Set{dir: dir, source: source} }

// Setup makes every volume of the Pod ready; it may be called again after an error.
func (s *Set) Setup(ctx context.Context, pod *v1.Pod) error {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := s.setup(ctx, pod, v); err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// Refresh renews tokens and follows edits of what volumes are filled from. pod carries the newest
// labels and annotations.
func (s *Set) Refresh(ctx context.Context, pod *v1.Pod) error {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !hasContent(v) {
			continue
		}
		if err := s.fill(ctx, pod, v); err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// Teardown unmounts and removes all volumes.
func (s *Set) Teardown() error { return RemoveTree(s.dir) }

func (s *Set) setup(ctx context.Context, pod *v1.Pod, v *v1.Volume) error {
	switch {
	case v.EmptyDir != nil:
		return setupEmptyDir(s.path(v.Name), v.EmptyDir, fsGroup(pod))
	case v.HostPath != nil:
		return setupHostPath(v.HostPath)
	case hasContent(v):
		if err := makeDir(s.path(v.Name)); err != nil {
			return err
		}
		return s.fill(ctx, pod, v)
	}
	return fmt.Errorf("this node supports emptyDir, hostPath, configMap, secret, downwardAPI and projected volumes")
}

func hasContent(v *v1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

func (s *Set) fill(ctx context.Context, pod *v1.Pod, v *v1.Volume) error {
	if v.DownwardAPI != nil && s.source.NoDownward || v.Projected != nil && s.source.NoProjected {
		return nil
	}
	payload, err := s.payload(ctx, pod, v)
	if err != nil {
		return err
	}
	_, err = WriteAtomic(s.path(v.Name), payload, func(fresh string) error {
		return giveToGroup(fresh, fsGroup(pod), true)
	})
	return err
}

func (s *Set) payload(ctx context.Context, pod *v1.Pod, v *v1.Volume) (Payload, error) {
	switch {
	case v.ConfigMap != nil:
		return s.configMap(v.ConfigMap.Name, v.ConfigMap.Items, mode(v.ConfigMap.DefaultMode), isTrue(v.ConfigMap.Optional))
	case v.Secret != nil:
		return s.secret(v.Secret.SecretName, v.Secret.Items, mode(v.Secret.DefaultMode), isTrue(v.Secret.Optional))
	case v.DownwardAPI != nil:
		return downwardPayload(pod, v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode), s.source.Allocatable)
	}
	return s.projected(ctx, pod, v.Projected)
}

func (s *Set) projected(ctx context.Context, pod *v1.Pod, p *v1.ProjectedVolumeSource) (Payload, error) {
	all := Payload{}
	for i := range p.Sources {
		part, err := s.projectedSource(ctx, pod, &p.Sources[i], mode(p.DefaultMode))
		if err != nil {
			return nil, err
		}
		for path, file := range part {
			all[path] = file
		}
	}
	return all, nil
}

func (s *Set) projectedSource(ctx context.Context, pod *v1.Pod, p *v1.VolumeProjection, mode int32) (Payload, error) {
	switch {
	case p.ConfigMap != nil:
		return s.configMap(p.ConfigMap.Name, p.ConfigMap.Items, mode, isTrue(p.ConfigMap.Optional))
	case p.Secret != nil:
		return s.secret(p.Secret.Name, p.Secret.Items, mode, isTrue(p.Secret.Optional))
	case p.DownwardAPI != nil:
		if s.source.NoDownward {
			return Payload{}, nil
		}
		return downwardPayload(pod, p.DownwardAPI.Items, mode, s.source.Allocatable)
	case p.ServiceAccountToken != nil:
		return s.token(ctx, pod, p.ServiceAccountToken, mode)
	}
	return nil, fmt.Errorf("this node projects configMap, secret, downwardAPI and serviceAccountToken sources")
}

// token narrows the mode where an owner or group gives access, as kubelet does
// (kubernetes/kubernetes:pkg/volume/projected/projected.go, collectData).
func (s *Set) token(ctx context.Context, pod *v1.Pod, p *v1.ServiceAccountTokenProjection, mode int32) (Payload, error) {
	token, err := s.source.Tokens.Get(ctx, pod, p)
	if err != nil {
		return nil, err
	}
	owner := tokenOwner(pod)
	if owner != nil || fsGroup(pod) != nil {
		mode = 0o600
	}
	return Payload{p.Path: {Data: []byte(token), Mode: mode, FsUser: owner}}, nil
}

func (s *Set) configMap(name string, items []v1.KeyToPath, mode int32, optional bool) (Payload, error) {
	cm, err := s.source.ConfigMap(name)
	if apierrors.IsNotFound(err) && optional {
		return Payload{}, nil
	}
	if err != nil {
		return nil, err
	}
	return configMapPayload(cm, items, mode, optional)
}

func (s *Set) secret(name string, items []v1.KeyToPath, mode int32, optional bool) (Payload, error) {
	secret, err := s.source.Secret(name)
	if apierrors.IsNotFound(err) && optional {
		return Payload{}, nil
	}
	if err != nil {
		return nil, err
	}
	return secretPayload(secret, items, mode, optional)
}

func (s *Set) path(volume string) string { return filepath.Join(s.dir, volume) }

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777)
}

// mode is the API's default where an object made without defaulting leaves it out.
func mode(given *int32) int32 {
	if given == nil {
		return 0o644
	}
	return *given
}

func isTrue(b *bool) bool { return b != nil && *b }
