// Package cri connects to the container runtime and names what this node owns there.
package cri

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The runtime answers with whole container lists and exec output in one message.
const maxMessageBytes = 16 << 20

// Client speaks CRI v1 with one runtime.
type Client struct {
	Runtime runtimeapi.RuntimeServiceClient
	Images  runtimeapi.ImageServiceClient
	conn    *grpc.ClientConn
}

// Connect dials the endpoint ("unix:///run/x.sock" or a plain path) and waits until the runtime
// answers a Version call, for as long as ctx allows.
func Connect(ctx context.Context, endpoint string) (*Client, error) {
	if !strings.Contains(endpoint, "://") {
		path, err := filepath.Abs(endpoint)
		if err != nil {
			return nil, err
		}
		endpoint = "unix://" + path
	}
	conn, err := grpc.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return nil, fmt.Errorf("--cri-endpoint %s: %w", endpoint, err)
	}
	client := &Client{
		Runtime: runtimeapi.NewRuntimeServiceClient(conn),
		Images:  runtimeapi.NewImageServiceClient(conn),
		conn:    conn,
	}
	for {
		_, err = client.Runtime.Version(ctx, &runtimeapi.VersionRequest{Version: "v1"})
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			_ = conn.Close()
			return nil, fmt.Errorf("--cri-endpoint %s: the runtime does not answer: %w", endpoint, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
