// Package probe runs the probes and hooks that kubelet runs for a Pod's own containers.
package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	userAgent    = "kube-probe/1.34"
	maxBodyBytes = 10 << 10
)

// Exec runs a command in the container and answers its exit code and output.
type Exec func(ctx context.Context, command []string) (code int32, output string, err error)

// Target is the container that a handler is aimed at.
type Target struct {
	PodIP     string
	Container *v1.Container
	Exec      Exec
}

// Run performs one probe; ctx carries its timeout. A failed probe is (false, why, nil).
func Run(ctx context.Context, h v1.ProbeHandler, target Target) (bool, string, error) {
	switch {
	case h.Exec != nil:
		code, output, err := target.Exec(ctx, h.Exec.Command)
		if err != nil && ctx.Err() != nil {
			return false, "command timed out", nil
		}
		if err != nil {
			return false, "", err
		}
		return code == 0, output, nil
	case h.HTTPGet != nil:
		return httpGet(ctx, h.HTTPGet, target)
	case h.TCPSocket != nil:
		port, err := Port(h.TCPSocket.Port, target.Container)
		if err != nil {
			return false, "", err
		}
		return tcp(ctx, net.JoinHostPort(hostOr(h.TCPSocket.Host, target.PodIP), port))
	case h.GRPC != nil:
		return grpcHealth(ctx, h.GRPC, target.PodIP)
	}
	return false, "", fmt.Errorf("the probe has no handler: want exec, httpGet, tcpSocket or grpc")
}

func httpGet(ctx context.Context, get *v1.HTTPGetAction, target Target) (bool, string, error) {
	code, body, err := Get(ctx, get, target)
	if err != nil {
		return false, err.Error(), nil
	}
	if code >= 200 && code < 400 {
		return true, body, nil
	}
	return false, fmt.Sprintf("HTTP probe failed with statuscode: %d", code), nil
}

// Get sends the request of an httpGet handler, with kubelet's defaults, and answers the status code
// and the beginning of the body. Redirects to another host are not followed.
func Get(ctx context.Context, get *v1.HTTPGetAction, target Target) (int, string, error) {
	request, err := newRequest(ctx, get, target)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // kubelet does not verify either
		DisableKeepAlives: true,
		Proxy:             nil,
	}
	host := request.URL.Hostname()
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Hostname() != host || len(via) >= 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBodyBytes))
	if err != nil {
		return 0, "", err
	}
	return answer.StatusCode, string(body), nil
}

func newRequest(ctx context.Context, get *v1.HTTPGetAction, target Target) (*http.Request, error) {
	port, err := Port(get.Port, target.Container)
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(get.Path)
	if err != nil {
		address = &url.URL{Path: get.Path}
	}
	address.Scheme = strings.ToLower(string(get.Scheme))
	if address.Scheme == "" {
		address.Scheme = "http"
	}
	address.Host = net.JoinHostPort(hostOr(get.Host, target.PodIP), port)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, header := range get.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	for name, value := range map[string]string{"User-Agent": userAgent, "Accept": "*/*"} {
		if _, given := request.Header[name]; !given {
			request.Header.Set(name, value)
		}
	}
	return request, nil
}

func tcp(ctx context.Context, address string) (bool, string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err.Error(), nil
	}
	_ = conn.Close()
	return true, "", nil
}

func grpcHealth(ctx context.Context, action *v1.GRPCAction, ip string) (bool, string, error) {
	address := net.JoinHostPort(ip, strconv.Itoa(int(action.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(userAgent))
	if err != nil {
		return false, "", err
	}
	defer conn.Close()
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		return false, err.Error(), nil
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return false, fmt.Sprintf("service unhealthy (responded with %q)", answer.Status), nil
	}
	return true, "", nil
}

// Port resolves a number or the name of one of the container's ports.
func Port(port intstr.IntOrString, c *v1.Container) (string, error) {
	if port.Type == intstr.Int {
		if port.IntVal < 1 || port.IntVal > 65535 {
			return "", fmt.Errorf("invalid port number: %d", port.IntVal)
		}
		return strconv.Itoa(int(port.IntVal)), nil
	}
	for _, known := range c.Ports {
		if known.Name == port.StrVal {
			return strconv.Itoa(int(known.ContainerPort)), nil
		}
	}
	if number, err := strconv.ParseUint(port.StrVal, 10, 16); err == nil && number > 0 {
		return port.StrVal, nil
	}
	return "", fmt.Errorf("container %q has no port named %q", c.Name, port.StrVal)
}

func hostOr(host, otherwise string) string {
	if host != "" {
		return host
	}
	return otherwise
}
