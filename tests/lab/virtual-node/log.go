package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

// newLog sends this program's, the library's and the client's lines to out, one line an event.
func newLog(out io.Writer, node string, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: plainErrors})).With("node", node)
	// Its failures come back as errors of the calls.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	klog.SetSlogLogger(log.With("from", "client-go"))
	vklog.L = libraryLog{log.With("from", "virtual-kubelet")}
	return log
}

// plainErrors keeps an error's message only: the library's errors print a stack of many lines.
func plainErrors(_ []string, attr slog.Attr) slog.Attr {
	if err, ok := attr.Value.Any().(error); ok {
		attr.Value = slog.StringValue(strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return attr
}

// libraryLog lets the library write through slog.
type libraryLog struct{ *slog.Logger }

func (l libraryLog) Debug(args ...any)                 { l.Logger.Debug(fmt.Sprint(args...)) }
func (l libraryLog) Debugf(format string, args ...any) { l.Logger.Debug(fmt.Sprintf(format, args...)) }
func (l libraryLog) Info(args ...any)                  { l.Logger.Info(fmt.Sprint(args...)) }
func (l libraryLog) Infof(format string, args ...any)  { l.Logger.Info(fmt.Sprintf(format, args...)) }
func (l libraryLog) Warn(args ...any)                  { l.Logger.Warn(fmt.Sprint(args...)) }
func (l libraryLog) Warnf(format string, args ...any)  { l.Logger.Warn(fmt.Sprintf(format, args...)) }
func (l libraryLog) Error(args ...any)                 { l.Logger.Error(fmt.Sprint(args...)) }
func (l libraryLog) Errorf(format string, args ...any) { l.Logger.Error(fmt.Sprintf(format, args...)) }
func (l libraryLog) Fatal(args ...any)                 { l.Error(args...); os.Exit(1) }
func (l libraryLog) Fatalf(format string, args ...any) { l.Errorf(format, args...); os.Exit(1) }

func (l libraryLog) WithField(key string, value any) vklog.Logger {
	return libraryLog{l.With(key, value)}
}

func (l libraryLog) WithFields(fields vklog.Fields) vklog.Logger {
	log := l.Logger
	for key, value := range fields {
		log = log.With(key, value)
	}
	return libraryLog{log}
}

func (l libraryLog) WithError(err error) vklog.Logger { return libraryLog{l.With("err", err)} }
