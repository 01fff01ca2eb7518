// Package volume prepares a Pod's volumes on this machine as kubelet does, and keeps those with
// changing content (tokens, ConfigMaps, Secrets, downward API) up to date.
package volume

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"probelet.io/lab/virtual-node/internal/env"
)

// File is one file of a volume. FsUser, where set, owns it.
type File struct {
	Data   []byte
	Mode   int32
	FsUser *int64
}

// Payload maps a path relative to the volume to its file.
type Payload map[string]File

// configMapPayload follows kubernetes/kubernetes:pkg/volume/configmap/configmap.go (MakePayload).
func configMapPayload(cm *v1.ConfigMap, items []v1.KeyToPath, mode int32, optional bool) (Payload, error) {
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for key, value := range cm.Data {
		data[key] = []byte(value)
	}
	for key, value := range cm.BinaryData {
		data[key] = value
	}
	return keysPayload("configmap", data, items, mode, optional)
}

func secretPayload(secret *v1.Secret, items []v1.KeyToPath, mode int32, optional bool) (Payload, error) {
	return keysPayload("secret", secret.Data, items, mode, optional)
}

func keysPayload(kind string, data map[string][]byte, items []v1.KeyToPath, mode int32, optional bool) (Payload, error) {
	payload := Payload{}
	if len(items) == 0 {
		for key, value := range data {
			payload[key] = File{Data: value, Mode: mode}
		}
		return payload, nil
	}
	for _, item := range items {
		value, known := data[item.Key]
		if !known {
			if optional {
				continue
			}
			return nil, fmt.Errorf("%s references non-existent key: %s", kind, item.Key)
		}
		file := File{Data: value, Mode: mode}
		if item.Mode != nil {
			file.Mode = *item.Mode
		}
		payload[item.Path] = file
	}
	return payload, nil
}

func downwardPayload(pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode int32, allocatable v1.ResourceList) (Payload, error) {
	payload := Payload{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = env.Field(pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = env.Resource(pod, item.ResourceFieldRef, "", allocatable)
		}
		if err != nil {
			return nil, fmt.Errorf("downwardAPI file %q: %w", item.Path, err)
		}
		file := File{Data: []byte(value), Mode: mode}
		if item.Mode != nil {
			file.Mode = *item.Mode
		}
		payload[item.Path] = file
	}
	return payload, nil
}
