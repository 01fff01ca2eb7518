package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestThresholdsCountEqualResultsInARow(t *testing.T) {
	var run Threshold
	steps := []struct{ ok, want bool }{
		{false, false}, {false, false}, {true, true}, {false, false}, {false, false}, {false, true}, {false, true}, {true, true},
	}
	for i, step := range steps {
		if got := run.Add(step.ok, 1, 3); got != step.want {
			t.Fatalf("step %d: want %v, got %v", i, step.want, got)
		}
	}
}

func TestHTTPGetMeaning(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			if r.Host != "named" || r.URL.RawQuery != "a=b" || r.UserAgent() != userAgent {
				w.WriteHeader(500)
			}
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		default:
			w.WriteHeader(404)
		}
	}))
	defer server.Close()
	ip, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	number, _ := strconv.Atoi(port)
	target := Target{PodIP: ip, Container: &v1.Container{Name: "m", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: int32(number)}}}}
	cases := map[string]bool{"/ok?a=b": true, "/away": true, "/none": false}
	for path, want := range cases {
		get := &v1.HTTPGetAction{Path: path, Port: intstr.FromString("web"), HTTPHeaders: []v1.HTTPHeader{{Name: "Host", Value: "named"}}}
		ok, message, err := Run(context.Background(), v1.ProbeHandler{HTTPGet: get}, target)
		if err != nil || ok != want {
			t.Errorf("%s: want %v, got %v %q %v", path, want, ok, message, err)
		}
	}
}

func TestPortNames(t *testing.T) {
	c := &v1.Container{Name: "m", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 80}}}
	if port, err := Port(intstr.FromString("web"), c); err != nil || port != "80" {
		t.Fatalf("got %s %v", port, err)
	}
	for _, bad := range []intstr.IntOrString{intstr.FromString("none"), intstr.FromInt32(0), intstr.FromInt32(70000)} {
		if _, err := Port(bad, c); err == nil {
			t.Errorf("%v must be refused", bad)
		}
	}
}
