// Command prober runs kubelet's own httpGet prober against one URL, again and again, and prints what each run took, in
// microseconds. `make bench` compares the sidecar's probes with it on the same server, in the same run.
package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"k8s.io/kubernetes/pkg/probe"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prober:", err)
		os.Exit(1)
	}
}

// run takes the URL, the number of runs and the milliseconds between them.
func run(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("usage: prober URL RUNS MILLISECONDS")
	}
	target, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	runs, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	pause, err := strconv.Atoi(arguments[2])
	if err != nil {
		return err
	}
	prober := httpprobe.New(false)
	for range runs {
		// kubelet makes a request for each run too.
		begin := time.Now()
		request, err := httpprobe.NewProbeRequest(target, http.Header{})
		if err != nil {
			return err
		}
		result, message, err := prober.Probe(request, time.Second)
		took := time.Since(begin)
		if err != nil || result != probe.Success {
			return fmt.Errorf("%s: %s %v", result, message, err)
		}
		fmt.Println(took.Microseconds())
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	return nil
}
