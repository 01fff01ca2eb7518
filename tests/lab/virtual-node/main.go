// Command virtual-node is a virtual node of the lab; --help explains its flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"

	"probelet.io/lab/virtual-node/internal/cri"
)

const (
	// How long a stopping node may take; its containers are left running.
	stopWithin     = 1000 * time.Millisecond
	connectTimeout = 30 * time.Second
	// The client's own limits; client-go's defaults of 5 and 10 would hold up many Pods.
	clientQPS, clientBurst = 200, 400
)

func main() {
	s, disabled, err := parseSettings(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "virtual-node: %v\nvirtual-node --help explains the flags\n", err)
		os.Exit(2)
	}
	in := parts{settings: s, disabled: disabled, log: newLog(os.Stderr, s.nodeName, s.verbose)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, func() {
		in.log.Info("stopping; containers are left running")
		time.AfterFunc(stopWithin, func() { os.Exit(0) })
	})
	if err := run(ctx, in); err != nil && ctx.Err() == nil {
		in.log.Error("the node stopped", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in parts) error {
	// File modes of volumes are exactly what the Pod asks for.
	syscall.Umask(0)
	config, err := clientcmd.BuildConfigFromFlags("", in.settings.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig %s: %w", in.settings.kubeconfig, err)
	}
	// The library makes a client of its own from this variable before it takes ours.
	if err := os.Setenv("KUBECONFIG", in.settings.kubeconfig); err != nil {
		return err
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	if in.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if err := waitForAPI(ctx, in); err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if in.runtime, err = cri.Connect(connecting, in.settings.criEndpoint); err != nil {
		return err
	}
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: in.client.CoreV1().Events(v1.NamespaceAll)})
	in.events = events.NewRecorder(scheme.Scheme, v1.EventSource{Component: path.Join(in.settings.nodeName, "virtual-node"), Host: in.settings.nodeName})
	node, err := newNode(ctx, in)
	if err != nil {
		return err
	}
	go func() {
		if node.WaitReady(ctx, 0) == nil {
			in.log.Info("node ready", "status", in.settings.status, "port", in.settings.listenPort, "disabled", in.disabled.String())
		}
	}()
	return node.Run(ctx)
}

// waitForAPI gives an API server that has just been started its time; the library would wait for
// ever without a word.
func waitForAPI(ctx context.Context, in parts) error {
	limit := time.Now().Add(connectTimeout)
	for {
		_, err := in.client.Discovery().ServerVersion()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(limit) {
			return fmt.Errorf("--kubeconfig %s: the API server does not answer: %w", in.settings.kubeconfig, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
