// Package backoff computes kubelet's delays between restarts and between image pulls.
package backoff

import "time"

// First and longest delay (kubernetes/kubernetes:pkg/kubelet/kubelet.go).
const (
	Initial = 10 * time.Second
	Max     = 5 * time.Minute
)

// Backoff is the delay of one container. The zero value has no failure yet.
type Backoff struct {
	delay   time.Duration
	updated time.Time
}

// Remaining says how long a restart after an exit at finished must still wait at now. Zero means
// that it may start; the caller then records it with Next.
func (b *Backoff) Remaining(finished, now time.Time) time.Duration {
	if b.delay == 0 || b.expired(finished) {
		return 0
	}
	if left := finished.Add(b.delay).Sub(now); left > 0 {
		return left
	}
	return 0
}

// Next records a restart at now and doubles the delay that the one after it will meet. A container
// that ran well for twice the longest delay begins again at the first.
func (b *Backoff) Next(finished, now time.Time) {
	if b.delay == 0 || b.expired(finished) {
		b.delay = Initial
	} else {
		b.delay = min(b.delay*2, Max)
	}
	b.updated = now
}

// Delay is the present delay, for messages.
func (b *Backoff) Delay() time.Duration { return b.delay }

func (b *Backoff) expired(finished time.Time) bool {
	return finished.Sub(b.updated) > 2*Max
}
