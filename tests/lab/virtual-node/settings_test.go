package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestEveryWrongFlagIsNamedAtOnce(t *testing.T) {
	_, _, err := parseSettings([]string{"--status=guess", "--disable=logs", "--node-ip=here", "--listen-port=0", "--tls-cert-file=x"}, &bytes.Buffer{})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, want := range []string{
		"--node-name is required", "--kubeconfig is required", `--status "guess": want push or poll`, `unknown feature "logs"`,
		`--node-ip "here": want an IP address`, "--listen-port 0", "--tls-private-key-file go together",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in %v", want, err)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if _, _, err := parseSettings([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"--node-name", "--disable", "--pod-copy", "--delete-stopped", "native-sidecar"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("missing %s", name)
		}
	}
}

func TestAClientAuthorityTurnsAuthenticationOn(t *testing.T) {
	args := []string{"--node-name=n", "--kubeconfig=k", "--cri-endpoint=c", "--node-ip=10.0.0.1", "--root-dir=" + t.TempDir()}
	for _, c := range []struct {
		extra []string
		want  string
	}{{nil, authNone}, {[]string{"--client-ca-file=ca"}, authClientCA}, {[]string{"--client-ca-file=ca", "--api-auth=webhook"}, authWebhook}} {
		s, _, err := parseSettings(append(args, c.extra...), &bytes.Buffer{})
		if err != nil || s.apiAuth != c.want {
			t.Errorf("%v: want %s, got %s %v", c.extra, c.want, s.apiAuth, err)
		}
	}
}
