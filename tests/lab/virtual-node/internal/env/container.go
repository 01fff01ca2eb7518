package env

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Source is where a container's variables come from.
type Source struct {
	Pod         *v1.Pod // with the addresses in its status
	Services    []*v1.Service
	ConfigMap   func(name string) (*v1.ConfigMap, error)
	Secret      func(name string) (*v1.Secret, error)
	Allocatable v1.ResourceList
	// NoFieldRef: the node lacks the downward API; such variables are left out.
	NoFieldRef bool
	// Resolved: the library has computed the variables already.
	Resolved bool
}

// Var is one variable; the order is kubelet's.
type Var struct{ Name, Value string }

// Container computes the variables of c (kubernetes/kubernetes:pkg/kubelet/kubelet_pods.go,
// makeEnvironmentVariables). A missing object or key that is not optional is an error that says
// which.
func Container(c *v1.Container, src Source) ([]Var, error) {
	if src.Resolved {
		return verbatim(c.Env), nil
	}
	b := builder{values: map[string]string{}}
	links := src.Pod.Spec.EnableServiceLinks == nil || *src.Pod.Spec.EnableServiceLinks
	services := Services(src.Services, src.Pod.Namespace, links)
	for _, from := range c.EnvFrom {
		if err := b.addFrom(from, src); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if value, known := b.values[name]; known {
			return value, true
		}
		value, known := services[name]
		return value, known
	}
	for _, variable := range c.Env {
		if variable.ValueFrom == nil {
			b.set(variable.Name, Expand(variable.Value, lookup))
			continue
		}
		value, found, err := valueFrom(variable, c, src)
		if err != nil {
			return nil, err
		}
		if found {
			b.set(variable.Name, value)
		}
	}
	for name, value := range services {
		if _, known := b.values[name]; !known {
			b.set(name, value)
		}
	}
	return b.vars(), nil
}

func verbatim(given []v1.EnvVar) []Var {
	out := make([]Var, len(given))
	for i, variable := range given {
		out[i] = Var{variable.Name, variable.Value}
	}
	return out
}

type builder struct {
	order  []string
	values map[string]string
}

func (b *builder) set(name, value string) {
	if _, known := b.values[name]; !known {
		b.order = append(b.order, name)
	}
	b.values[name] = value
}

func (b *builder) vars() []Var {
	out := make([]Var, len(b.order))
	for i, name := range b.order {
		out[i] = Var{name, b.values[name]}
	}
	return out
}

func (b *builder) addFrom(from v1.EnvFromSource, src Source) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		cm, err := src.ConfigMap(from.ConfigMapRef.Name)
		if missing(err, from.ConfigMapRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		data = cm.Data
	case from.SecretRef != nil:
		secret, err := src.Secret(from.SecretRef.Name)
		if missing(err, from.SecretRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for key, value := range secret.Data {
			data[key] = string(value)
		}
	}
	for key, value := range data {
		if name := from.Prefix + key; len(validation.IsEnvVarName(name)) == 0 {
			b.set(name, value)
		}
	}
	return nil
}

func valueFrom(variable v1.EnvVar, c *v1.Container, src Source) (value string, found bool, err error) {
	from := variable.ValueFrom
	switch {
	case from.FieldRef != nil:
		if src.NoFieldRef {
			return "", false, nil
		}
		value, err = Field(src.Pod, from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		if src.NoFieldRef {
			return "", false, nil
		}
		value, err = Resource(src.Pod, from.ResourceFieldRef, c.Name, src.Allocatable)
	case from.ConfigMapKeyRef != nil:
		return configMapKey(from.ConfigMapKeyRef, src)
	case from.SecretKeyRef != nil:
		return secretKey(from.SecretKeyRef, src)
	default:
		err = fmt.Errorf("this node supports fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef")
	}
	if err != nil {
		return "", false, fmt.Errorf("variable %q: %w", variable.Name, err)
	}
	return value, true, nil
}

func configMapKey(ref *v1.ConfigMapKeySelector, src Source) (string, bool, error) {
	cm, err := src.ConfigMap(ref.Name)
	if missing(err, ref.Optional) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	value, known := cm.Data[ref.Key]
	if !known && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", ref.Key, cm.Namespace, cm.Name)
	}
	return value, known, nil
}

func secretKey(ref *v1.SecretKeySelector, src Source) (string, bool, error) {
	secret, err := src.Secret(ref.Name)
	if missing(err, ref.Optional) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	value, known := secret.Data[ref.Key]
	if !known && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %s in Secret %s/%s", ref.Key, secret.Namespace, secret.Name)
	}
	return string(value), known, nil
}

func missing(err error, optional *bool) bool {
	return apierrors.IsNotFound(err) && isTrue(optional)
}

func isTrue(b *bool) bool { return b != nil && *b }
