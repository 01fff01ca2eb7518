package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node/nodeutil"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// serving is the node's API: TLS and who may use it.
type serving struct {
	tls  *tls.Config
	auth nodeutil.Auth
}

func newServing(s settings, client kubernetes.Interface) (*serving, error) {
	cert, err := certificate(s)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	out := &serving{tls: config, auth: nodeutil.NoAuth()}
	switch s.apiAuth {
	case authClientCA:
		if err := nodeutil.WithCAFromPath(s.clientCA)(config); err != nil {
			return nil, fmt.Errorf("--client-ca-file %s: %w", s.clientCA, err)
		}
	case authWebhook:
		out.auth, err = nodeutil.WebhookAuth(client, s.nodeName, func(c *nodeutil.WebhookAuthConfig) error {
			if s.clientCA == "" {
				return nil
			}
			provider, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", s.clientCA)
			c.AuthnConfig.ClientCertificateCAContentProvider = provider
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("--api-auth=webhook: %w", err)
		}
	}
	return out, nil
}

func (s *serving) protect(h http.Handler) http.Handler { return nodeutil.WithAuth(s.auth, h) }

func certificate(s settings) (tls.Certificate, error) {
	if s.certFile != "" {
		cert, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		if err != nil {
			return cert, fmt.Errorf("--tls-cert-file %s: %w", s.certFile, err)
		}
		return cert, nil
	}
	return selfSigned(s.nodeName, net.ParseIP(s.nodeIP))
}

// selfSigned is enough for an API server that does not verify its nodes, which is its default.
func selfSigned(name string, ip net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{name},
		IPAddresses:  []net.IP{ip},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
