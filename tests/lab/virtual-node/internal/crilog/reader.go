package crilog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// How often a followed file is looked at again.
const pollEvery = 100 * time.Millisecond

// Options choose what is copied. Zero values choose everything.
type Options struct {
	Tail       int // last lines; negative means all
	LimitBytes int
	Timestamps bool
	Since      time.Time
	Follow     bool
	// Running says whether the container may still write; a follow ends when it does not.
	Running func() bool
}

// Copy writes the texts of a log file to out.
func Copy(ctx context.Context, path string, opts Options, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if opts.Tail >= 0 {
		offset, err := tailOffset(file, opts.Tail)
		if err != nil {
			return err
		}
		if _, err := file.Seek(offset, io.SeekStart); err != nil {
			return err
		}
	}
	w := &writer{out: out, opts: opts, left: opts.LimitBytes, atStart: true}
	return follow(ctx, bufio.NewReader(file), opts, w)
}

// follow copies entry by entry. The container's state is asked before each read to the end, so
// that what it wrote last is not lost.
func follow(ctx context.Context, in *bufio.Reader, opts Options, w *writer) error {
	var pending []byte
	for {
		ended := !opts.Follow || opts.Running == nil || !opts.Running()
		for {
			part, err := in.ReadBytes('\n')
			pending = append(pending, part...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if err := w.entry(pending); err != nil {
				return ignoreLimit(err)
			}
			pending = pending[:0]
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

var errLimit = errors.New("limit reached")

func ignoreLimit(err error) error {
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

type writer struct {
	out     io.Writer
	opts    Options
	left    int
	atStart bool
}

func (w *writer) entry(raw []byte) error {
	line, err := Parse(raw)
	if err != nil {
		// A torn entry must not hide the rest.
		return nil
	}
	if line.Time.Before(w.opts.Since) {
		return nil
	}
	var text []byte
	if w.opts.Timestamps && w.atStart {
		text = append(line.Time.AppendFormat(text, time.RFC3339Nano), ' ')
	}
	text = append(text, line.Text...)
	if !line.Partial {
		text = append(text, '\n')
	}
	w.atStart = !line.Partial
	limited := w.opts.LimitBytes > 0
	if limited && len(text) >= w.left {
		text = text[:w.left]
	}
	if _, err := w.out.Write(text); err != nil {
		return err
	}
	if limited {
		if w.left -= len(text); w.left == 0 {
			return errLimit
		}
	}
	return nil
}

// tailOffset finds where the last n entries begin, reading from the end.
func tailOffset(file *os.File, n int) (int64, error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return size, err
	}
	const block = 32 << 10
	seen := 0
	for end := size; end > 0; {
		start := max(0, end-block)
		buf := make([]byte, end-start)
		if _, err := file.ReadAt(buf, start); err != nil {
			return 0, err
		}
		for i := bytes.LastIndexByte(buf, '\n'); i >= 0; i = bytes.LastIndexByte(buf[:i], '\n') {
			// The newline at the very end closes the last entry and begins none.
			if at := start + int64(i) + 1; at < size {
				if seen++; seen == n {
					return at, nil
				}
			}
		}
		end = start
	}
	return 0, nil
}
