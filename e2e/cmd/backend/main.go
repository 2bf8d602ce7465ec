// Command backend is what the scenarios route to: it answers everything with the name of its pod (or VERSION, if set),
// and drains on SIGTERM as a well-made server does: it goes on serving while the endpoint controllers take it out; then
// it finishes what it has begun, and ends.
//
//	PROTOCOL http (default), tcp, udp, grpc; each says in its file what it answers
//	PORT     3000
//	TLS_CERT, TLS_KEY   files; http, tcp and grpc are served over TLS if they are named
//	DRAIN    5s: how long it goes on serving
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// server is one protocol's. Serve returns when drain has ended it.
type server interface {
	serve(listener net.Listener) error
	// drain is called once no new request should come, and returns when what has begun is finished.
	drain(patience context.Context) error
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	delay, err := time.ParseDuration(setting("DRAIN", "5s"))
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	name, port := setting("VERSION", os.Getenv("POD_NAME")), setting("PORT", "3000")
	protocol := setting("PROTOCOL", "http")
	if protocol == "udp" {
		return datagrams(stop, name, ":"+port, delay)
	}
	var own server
	var application []string // for ALPN
	switch protocol {
	case "http":
		own, application = newHTTP(name, stop), []string{"http/1.1"}
	case "tcp":
		own = &lines{name: name}
	case "grpc":
		own, application = newGRPC(name), []string{"h2"}
	default:
		return fmt.Errorf("PROTOCOL is %q: it is one of http, tcp, udp, grpc", protocol)
	}
	listener, err := listen(":"+port, application)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- own.serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	time.Sleep(delay)
	patience, done := context.WithTimeout(context.Background(), 15*time.Second)
	defer done()
	return own.drain(patience)
}

func listen(address string, application []string) (net.Listener, error) {
	certificate, key := os.Getenv("TLS_CERT"), os.Getenv("TLS_KEY")
	if certificate == "" {
		return net.Listen("tcp", address)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: application})
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
