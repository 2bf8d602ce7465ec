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

// certificate is a Secret "app" for app.example, self-signed, and trusted from now on.
func certificate(t *testing.T, name string, trusted *x509.CertPool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"app.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(parsed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		text := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})))
		return "    " + strings.ReplaceAll(text, "\n", "\n    ")
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: app}
type: kubernetes.io/tls
stringData:
  tls.crt: |
%s
  tls.key: |
%s
---
`, block("CERTIFICATE", der), block("PRIVATE KEY", private))
}
