package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	"k8s.io/klog/v2"
)

// newLog sends this program's, the library's and the client's lines to out, one line an event.
func newLog(out io.Writer, node string, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})).With("node", node)
	klog.SetSlogLogger(log.With("from", "client-go"))
	vklog.L = libraryLog{log.With("from", "virtual-kubelet")}
	return log
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
