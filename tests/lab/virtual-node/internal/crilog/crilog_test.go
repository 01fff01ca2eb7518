package crilog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	cases := []struct {
		raw     string
		stream  string
		text    string
		partial bool
		wantErr string
	}{
		{"2026-01-02T03:04:05.678901234Z stdout F hello  world\n", "stdout", "hello  world", false, ""},
		{"2026-01-02T03:04:05Z stderr P half", "stderr", "half", true, ""},
		{"2026-01-02T03:04:05Z stdout F ", "stdout", "", false, ""},
		{"2026-01-02T03:04:05Z stdout F", "stdout", "", false, ""},
		{"2026-01-02T03:04:05Z stdout P:x text", "stdout", "text", true, ""},
		{"2026-01-02T03:04:05Z other F x", "", "", false, "unknown stream"},
		{"yesterday stdout F x", "", "", false, "cannot parse"},
		{"nothing", "", "", false, "want TIME STREAM TAGS TEXT"},
	}
	for _, c := range cases {
		line, err := Parse([]byte(c.raw))
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%q: want %q, got %v", c.raw, c.wantErr, err)
			}
			continue
		}
		if err != nil || line.Stream != c.stream || string(line.Text) != c.text || line.Partial != c.partial {
			t.Errorf("%q: got %+v %v", c.raw, line, err)
		}
	}
}

func TestCopy(t *testing.T) {
	path := logFile(t, 5)
	cases := []struct {
		name string
		opts Options
		want string
	}{
		{"all", Options{Tail: -1}, "l0\nl1\nl2\nl3\nl4\n"},
		{"the last two", Options{Tail: 2}, "l3\nl4\n"},
		{"none", Options{Tail: 0}, ""},
		{"more than there are", Options{Tail: 50}, "l0\nl1\nl2\nl3\nl4\n"},
		{"cut by bytes", Options{Tail: -1, LimitBytes: 4}, "l0\nl"},
		{"since", Options{Tail: -1, Since: time.Unix(3, 0)}, "l3\nl4\n"},
		{"with timestamps", Options{Tail: 1, Timestamps: true}, "1970-01-01T00:00:04Z l4\n"},
	}
	for _, c := range cases {
		var out bytes.Buffer
		if err := Copy(context.Background(), path, c.opts, &out); err != nil || out.String() != c.want {
			t.Errorf("%s: want %q, got %q %v", c.name, c.want, out.String(), err)
		}
	}
}

func TestTailOfALongFile(t *testing.T) {
	var out bytes.Buffer
	if err := Copy(context.Background(), logFile(t, 5000), Options{Tail: 3000}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "l2000\n") || strings.Count(out.String(), "\n") != 3000 {
		t.Fatalf("got %d lines from %.10q", strings.Count(out.String(), "\n"), out.String())
	}
}

func TestFollowEndsAfterTheContainersLastLine(t *testing.T) {
	path := logFile(t, 1)
	calls := 0
	opts := Options{Tail: -1, Follow: true, Running: func() bool {
		calls++
		if calls == 2 {
			appendTo(t, path, "1970-01-01T00:00:09Z stdout P la\n1970-01-01T00:00:09Z stdout F st\n")
			return false
		}
		return true
	}}
	var out bytes.Buffer
	if err := Copy(context.Background(), path, opts, &out); err != nil || out.String() != "l0\nlast\n" {
		t.Fatalf("got %q %v", out.String(), err)
	}
}

func logFile(t *testing.T, lines int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, "%s stdout F l%d\n", time.Unix(int64(i), 0).UTC().Format(time.RFC3339Nano), i)
	}
	appendTo(t, path, text.String())
	return path
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
