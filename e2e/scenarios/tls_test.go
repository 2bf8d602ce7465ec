package scenarios

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"portcullis.dev/e2e/load"
)

// A certificate is replaced under load: no handshake fails, connections that are open stay, and new ones get the new
// certificate.
func TestCertificateRotatedUnderLoad(t *testing.T) {
	namespace := newNamespace(t)
	trusted := x509.NewCertPool()
	first, second := certificate(t, "first", trusted), certificate(t, "second", trusted)
	apply(t, namespace, first+`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: portcullis
  listeners:
    - {name: https, port: 443, protocol: HTTPS, hostname: app.example, tls: {certificateRefs: [{name: app}]}}
---
`+backend("app", 2)+httpRoute("app", "NAMESPACE/front", "app.example", "app"))
	ready(t, namespace, "app")
	address := programmed(t, namespace, "front") + ":443"
	config := &tls.Config{RootCAs: trusted, ServerName: "app.example"}
	serves := func(name string) {
		t.Helper()
		eventually(t, soon, "certificate "+name, func() error {
			connection, err := tls.Dial("tcp", address, config)
			if err != nil {
				return err
			}
			defer connection.Close()
			if got := connection.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
				return fmt.Errorf("still %s", got)
			}
			return nil
		})
	}
	serves("first")
	fresh := load.Start(t.Context(), load.Load{Address: address, Host: "app.example", TLS: config, Clients: 2, Fresh: true})
	underLoad(t, load.Load{Address: address, Host: "app.example", TLS: config}, func(*load.Run) {
		for _, each := range []struct{ name, manifest string }{{"second", second}, {"first", first}, {"second", second}} {
			began := time.Now()
			apply(t, namespace, each.manifest)
			serves(each.name)
			t.Logf("%s served after %s, kubectl included", each.name, time.Since(began).Round(time.Millisecond))
		}
	})
	if counted := fresh.Stop(); counted.Failed > 0 {
		t.Errorf("new connections: %s", counted)
	}
}

// certificate is a Secret "app" for app.example, of an authority of its own that is trusted from now on.
func certificate(t *testing.T, name string, trusted *x509.CertPool) string {
	t.Helper()
	authority := newAuthority(t, name+" authority")
	trusted.AddCert(authority.certificate)
	return authority.secret(t, "app", name, "app.example")
}

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, key := signed(t, template, authority{})
	return authority{certificate, key}
}

// signed makes a certificate of the template, by the authority, or by itself if that is empty.
func signed(t *testing.T, template *x509.Certificate, by authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if by.certificate == nil {
		by = authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

// secret is a Secret with a new certificate for the host; the common name tells it from others.
func (a authority) secret(t *testing.T, name, commonName, host string) string {
	t.Helper()
	leaf, key := signed(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, DNSNames: []string{host}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %s}
type: kubernetes.io/tls
stringData:
  tls.crt: |
%s
  tls.key: |
%s
---
`, name, block("CERTIFICATE", leaf.Raw), block("PRIVATE KEY", private))
}

// authorities is a ConfigMap with the certificates of authorities, as a BackendTLSPolicy names it.
func authorities(name string, trusted ...authority) string {
	var blocks []string
	for _, each := range trusted {
		blocks = append(blocks, block("CERTIFICATE", each.certificate.Raw))
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data:
  ca.crt: |
%s
---
`, name, strings.Join(blocks, "\n"))
}

// block is PEM, indented for YAML.
func block(kind string, bytes []byte) string {
	text := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})))
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}
