// Package stream carries exec, attach and port-forward between the node's API and the runtime's
// streaming server.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Exec runs a command in a container. A command that ends with a code other than 0 is an error
// that carries it (k8s.io/client-go/util/exec.CodeExitError).
func Exec(ctx context.Context, runtime runtimeapi.RuntimeServiceClient, id string, command []string, streams api.AttachIO) error {
	answer, err := runtime.Exec(ctx, &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: command, Tty: streams.TTY(),
		Stdin: streams.Stdin() != nil, Stdout: streams.Stdout() != nil, Stderr: streams.Stderr() != nil && !streams.TTY(),
	})
	if err != nil {
		return err
	}
	return copyStreams(ctx, answer.Url, streams)
}

// Attach joins the streams of the container's main process.
func Attach(ctx context.Context, runtime runtimeapi.RuntimeServiceClient, id string, streams api.AttachIO) error {
	answer, err := runtime.Attach(ctx, &runtimeapi.AttachRequest{
		ContainerId: id, Tty: streams.TTY(),
		Stdin: streams.Stdin() != nil, Stdout: streams.Stdout() != nil, Stderr: streams.Stderr() != nil && !streams.TTY(),
	})
	if err != nil {
		return err
	}
	return copyStreams(ctx, answer.Url, streams)
}

func copyStreams(ctx context.Context, address string, streams api.AttachIO) error {
	target, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("the runtime's streaming address %q: %w", address, err)
	}
	executor, err := remotecommand.NewSPDYExecutor(&rest.Config{Host: target.Host}, "POST", target)
	if err != nil {
		return err
	}
	opts := remotecommand.StreamOptions{Tty: streams.TTY()}
	// An interface that holds a nil pointer would pass for a stream.
	if in := streams.Stdin(); in != nil {
		opts.Stdin = in
	}
	if out := streams.Stdout(); out != nil {
		opts.Stdout = out
	}
	if out := streams.Stderr(); out != nil && !streams.TTY() {
		opts.Stderr = out
	}
	if streams.TTY() {
		opts.TerminalSizeQueue = sizes{ctx, streams.Resize()}
	}
	err = executor.StreamWithContext(ctx, opts)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

type sizes struct {
	ctx     context.Context
	changes <-chan api.TermSize
}

// Next waits for the terminal's next size; nil ends the queue.
func (s sizes) Next() *remotecommand.TerminalSize {
	select {
	case size, open := <-s.changes:
		if !open {
			return nil
		}
		return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
	case <-s.ctx.Done():
		return nil
	}
}
