package stream

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const dialTimeout = 10 * time.Second

// Forward joins a stream with a port of the Pod. The Pod's address is dialled: this machine is on
// the Pod network, so what listens on the Pod's loopback alone is not reached.
func Forward(ctx context.Context, ip string, port int32, stream io.ReadWriteCloser) error {
	address := net.JoinHostPort(ip, strconv.Itoa(int(port)))
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("port-forward to %s: %w", address, err)
	}
	defer conn.Close()
	defer stream.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, stream)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		if err != nil {
			ended <- err
		}
	}()
	go func() {
		_, err := io.Copy(stream, conn)
		ended <- err
	}()
	select {
	case err = <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
