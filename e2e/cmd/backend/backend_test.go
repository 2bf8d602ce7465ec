package main

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"portcullis.dev/e2e/load"
)

// serving runs a server on loopback; the function it returns drains it.
func serving(t *testing.T, own server) (address string, drain func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- own.serve(listener) }()
	return listener.Addr().String(), func() {
		t.Helper()
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := own.drain(patience); err != nil {
			t.Errorf("drain: %v", err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-patience.Done():
			t.Error("it still serves after it was drained")
		}
	}
}

func TestLinesAreAnsweredWithTheName(t *testing.T) {
	address, drain := serving(t, &lines{name: "blue"})
	client := &load.Lines{Address: address}
	defer client.Close()
	for range 2 {
		if name, err := client.Ask(time.Now().Add(time.Second)); err != nil || name != "blue" {
			t.Fatalf("%q, %v", name, err)
		}
	}
	drain()
	if name, err := client.Ask(time.Now().Add(time.Second)); err == nil {
		t.Errorf("after it was drained: %q", name)
	}
}

func TestRequestsAreAnsweredWithTheName(t *testing.T) {
	stop, draining := context.WithCancel(context.Background())
	address, drain := serving(t, newHTTP("blue", stop))
	run := load.Start(t.Context(), load.Load{Address: address, Host: "x", Pace: time.Millisecond})
	for run.Count().Requests < 50 {
		time.Sleep(time.Millisecond)
	}
	draining() // from here on each connection ends with its next answer, and no client loses one
	for before := run.Count().Requests; run.Count().Requests < before+50; {
		time.Sleep(time.Millisecond)
	}
	count := run.Stop()
	if count.Failed > 0 || count.Answers["blue"] != count.Requests {
		t.Errorf("%s from %v", count, count.Answers)
	}
	drain()
}

func TestCallsAreAnsweredWithTheName(t *testing.T) {
	address, drain := serving(t, newGRPC("blue"))
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	var header metadata.MD
	client := grpc_health_v1.NewHealthClient(connection)
	answer, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	serves := answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
	if names := header.Get("x-backend"); err != nil || !serves || !slices.Equal(names, []string{"blue"}) {
		t.Errorf("%v %v, %v", answer, header, err)
	}
	drain()
}

func TestDatagramsAreAnsweredWithTheName(t *testing.T) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.LocalAddr().String()
	_ = free.Close()
	stop, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- datagrams(stop, "blue", address, 0) }()
	client := &load.Datagrams{Address: address}
	defer client.Close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		name, err := client.Ask(time.Now().Add(100 * time.Millisecond))
		if err == nil && name == "blue" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q, %v", name, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
