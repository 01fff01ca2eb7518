package env

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func source() Source {
	return Source{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"a/b": "c"}},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "m", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1500m")}}}}},
			Status:     v1.PodStatus{PodIP: "10.0.0.5", HostIP: "10.1.1.1"},
		},
		Services: []*v1.Service{
			service("default", "kubernetes", "10.96.0.1", v1.ServicePort{Name: "https", Port: 443}),
			service("ns", "web-app", "10.96.0.9", v1.ServicePort{Port: 80}),
			service("ns", "headless", "None", v1.ServicePort{Port: 80}),
			service("other", "hidden", "10.96.0.8", v1.ServicePort{Port: 80}),
		},
		ConfigMap: func(name string) (*v1.ConfigMap, error) {
			if name != "cm" {
				return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
			}
			return &v1.ConfigMap{Data: map[string]string{"K": "v", "not valid": "x"}}, nil
		},
		Secret: func(string) (*v1.Secret, error) {
			return &v1.Secret{Data: map[string][]byte{"S": []byte("s")}}, nil
		},
		Allocatable: v1.ResourceList{"memory": resource.MustParse("4Gi")},
	}
}

func service(namespace, name, ip string, ports ...v1.ServicePort) *v1.Service {
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
}

func TestContainerVariables(t *testing.T) {
	yes := true
	c := &v1.Container{
		Name:    "m",
		EnvFrom: []v1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}}},
		Env: []v1.EnvVar{
			{Name: "A", Value: "1"},
			{Name: "B", Value: "$(A)-$(KUBERNETES_SERVICE_HOST)-$(NONE)-$$(A)"},
			{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: "LABEL", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels['a/b']"}}},
			{Name: "CPU", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.cpu"}}},
			{Name: "MEM", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
			{Name: "SEC", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{Key: "S"}}},
			{Name: "OPT", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{Key: "absent", LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Optional: &yes}}},
			{Name: "KUBERNETES_PORT", Value: "mine"},
		},
	}
	vars, err := Container(c, source())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range vars {
		got[v.Name] = v.Value
	}
	want := map[string]string{
		"P_K": "v", "A": "1", "B": "1-10.96.0.1-$(NONE)-$(A)", "IP": "10.0.0.5", "LABEL": "c", "CPU": "2", "MEM": "4096", "SEC": "s",
		"KUBERNETES_PORT": "mine", "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443",
		"KUBERNETES_SERVICE_PORT_HTTPS": "443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
		"WEB_APP_SERVICE_HOST": "10.96.0.9", "WEB_APP_PORT": "tcp://10.96.0.9:80", "WEB_APP_PORT_80_TCP_ADDR": "10.96.0.9",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: want %q, got %q", name, value, got[name])
		}
	}
	for _, name := range []string{"P_not valid", "OPT", "HEADLESS_SERVICE_HOST", "HIDDEN_SERVICE_HOST"} {
		if value, known := got[name]; known {
			t.Errorf("%s must not be set, got %q", name, value)
		}
	}
}

func TestWithoutServiceLinksOnlyTheAPIServerIsSeen(t *testing.T) {
	src, no := source(), false
	src.Pod.Spec.EnableServiceLinks = &no
	vars, err := Container(&v1.Container{Name: "m"}, src)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vars {
		if !strings.HasPrefix(v.Name, "KUBERNETES_") {
			t.Errorf("unexpected %s", v.Name)
		}
	}
}

func TestAMissingObjectIsNamed(t *testing.T) {
	c := &v1.Container{Env: []v1.EnvVar{{Name: "X", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{Key: "k", LocalObjectReference: v1.LocalObjectReference{Name: "gone"}}}}}}
	_, err := Container(c, source())
	if err == nil || !strings.Contains(err.Error(), `"gone" not found`) {
		t.Fatalf("got %v", err)
	}
}

func TestANodeWithoutDownwardAPILeavesTheVariablesOut(t *testing.T) {
	src := source()
	src.NoFieldRef = true
	c := &v1.Container{Name: "m", Env: []v1.EnvVar{{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}}
	vars, err := Container(c, src)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vars {
		if v.Name == "IP" {
			t.Fatal("IP must not be set")
		}
	}
}
