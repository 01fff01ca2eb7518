package backoff

import (
	"testing"
	"time"
)

func TestDelaysDoubleFromTenSecondsToFiveMinutes(t *testing.T) {
	now := time.Unix(1000, 0)
	var b Backoff
	if left := b.Remaining(now, now); left != 0 {
		t.Fatalf("the first restart is immediate, got %v", left)
	}
	want := []time.Duration{10, 20, 40, 80, 160, 300, 300}
	for i, seconds := range want {
		b.Next(now, now)
		if left := b.Remaining(now, now); left != seconds*time.Second {
			t.Fatalf("restart %d: want %v, got %v", i+1, seconds*time.Second, left)
		}
		now = now.Add(b.Delay())
		if left := b.Remaining(now.Add(-b.Delay()), now); left != 0 {
			t.Fatalf("restart %d: after its delay %v is left", i+1, left)
		}
	}
}

func TestALongGoodRunStartsOver(t *testing.T) {
	now := time.Unix(1000, 0)
	var b Backoff
	for range 5 {
		b.Next(now, now)
	}
	finished := now.Add(2*Max + time.Second)
	if left := b.Remaining(finished, finished); left != 0 {
		t.Fatalf("want an immediate restart, got %v", left)
	}
	b.Next(finished, finished)
	if b.Delay() != Initial {
		t.Fatalf("want %v, got %v", Initial, b.Delay())
	}
}

func TestTheDelayCountsFromTheExit(t *testing.T) {
	now := time.Unix(1000, 0)
	var b Backoff
	b.Next(now, now)
	finished := now.Add(4 * time.Second)
	if left := b.Remaining(finished, finished.Add(3*time.Second)); left != 7*time.Second {
		t.Fatalf("want 7s, got %v", left)
	}
}
