package probe

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Worker repeats one probe until ctx ends.
type Worker struct {
	Spec    *v1.Probe
	Target  Target
	Started time.Time // of the container; the initial delay counts from here
	// Report is called each time a threshold is reached, with the last message.
	Report func(ok bool, message string)
	// Failed is told of every single failure.
	Failed func(message string)
}

// Run probes at the period. A probe that could not be run counts as neither result, as in kubelet.
func (w Worker) Run(ctx context.Context) {
	delay := time.Until(w.Started.Add(seconds(w.Spec.InitialDelaySeconds, 0)))
	var run Threshold
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(delay, 0)):
		}
		begun := time.Now()
		w.once(ctx, &run)
		delay = seconds(w.Spec.PeriodSeconds, 10) - time.Since(begun)
	}
}

func (w Worker) once(ctx context.Context, run *Threshold) {
	limited, cancel := context.WithTimeout(ctx, seconds(w.Spec.TimeoutSeconds, 1))
	defer cancel()
	ok, message, err := Run(limited, w.Spec.ProbeHandler, w.Target)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.Failed(err.Error())
		return
	}
	if !ok {
		w.Failed(message)
	}
	if run.Add(ok, count(w.Spec.SuccessThreshold, 1), count(w.Spec.FailureThreshold, 3)) {
		w.Report(ok, message)
	}
}

// Threshold counts equal results in a row.
type Threshold struct {
	last bool
	run  int
}

// Add counts one result and says whether the threshold of its kind is reached.
func (t *Threshold) Add(ok bool, success, failure int) bool {
	if t.run > 0 && t.last == ok {
		t.run++
	} else {
		t.last, t.run = ok, 1
	}
	if ok {
		return t.run >= success
	}
	return t.run >= failure
}

func seconds(value, otherwise int32) time.Duration {
	return time.Duration(count(value, int(otherwise))) * time.Second
}

func count(value int32, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return int(value)
}
