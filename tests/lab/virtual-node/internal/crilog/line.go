// Package crilog reads the log files that the runtime writes for containers.
package crilog

import (
	"bytes"
	"fmt"
	"time"
)

// Line is one entry: "TIME STREAM TAGS TEXT"
// (kubernetes/kubernetes:staging/src/k8s.io/cri-client/pkg/logs/logs.go).
type Line struct {
	Time   time.Time
	Stream string // "stdout" or "stderr"
	// Partial: the text goes on in the next entry of the stream.
	Partial bool
	Text    []byte // without the line's end
}

// Parse reads one entry, with or without its newline.
func Parse(raw []byte) (Line, error) {
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	parts := bytes.SplitN(raw, []byte(" "), 4)
	if len(parts) < 3 {
		return Line{}, fmt.Errorf("log entry %q: want TIME STREAM TAGS TEXT", short(raw))
	}
	at, err := time.Parse(time.RFC3339Nano, string(parts[0]))
	if err != nil {
		return Line{}, fmt.Errorf("log entry %q: %w", short(raw), err)
	}
	line := Line{Time: at, Stream: string(parts[1])}
	if line.Stream != "stdout" && line.Stream != "stderr" {
		return Line{}, fmt.Errorf("log entry %q: unknown stream %q", short(raw), line.Stream)
	}
	first, _, _ := bytes.Cut(parts[2], []byte(":"))
	line.Partial = string(first) == "P"
	if len(parts) == 4 {
		line.Text = parts[3]
	}
	return line, nil
}

func short(raw []byte) []byte {
	if len(raw) > 80 {
		return raw[:80]
	}
	return raw
}
