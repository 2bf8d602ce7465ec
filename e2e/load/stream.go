package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Lines is a client of a TCP server that answers every line with its name. A connection that was closed while it was
// idle is a failure: nobody but the client has a reason to end it.
type Lines struct {
	Address string
	TLS     *tls.Config

	stream net.Conn
	reader *bufio.Reader
}

func (l *Lines) Ask(deadline time.Time) (string, error) {
	if l.stream == nil {
		stream, err := dial(l.Address, l.TLS, deadline)
		if err != nil {
			return "", fmt.Errorf("connect: %w", err)
		}
		l.stream, l.reader = stream, bufio.NewReader(stream)
	}
	name, err := l.exchange(deadline)
	if err != nil {
		l.Close()
	}
	return name, err
}

func (l *Lines) exchange(deadline time.Time) (string, error) {
	if err := l.stream.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := l.stream.Write([]byte("who\n")); err != nil {
		return "", fmt.Errorf("send: %w", unaddressed(err))
	}
	name, err := l.reader.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read answer: %w", unaddressed(err))
	}
	return strings.TrimSuffix(name, "\n"), nil
}

// Close ends the connection.
func (l *Lines) Close() {
	if l.stream != nil {
		_ = l.stream.Close()
		l.stream, l.reader = nil, nil
	}
}

// Datagrams is a client of a UDP server that answers every datagram with its name. It keeps its port, and with it its
// flow, until it is closed or an answer is missing: one that is late must not be taken for the next.
type Datagrams struct {
	Address string

	socket net.Conn
}

func (d *Datagrams) Ask(deadline time.Time) (string, error) {
	if d.socket == nil {
		socket, err := net.Dial("udp", d.Address)
		if err != nil {
			return "", unaddressed(err)
		}
		d.socket = socket
	}
	name, err := d.exchange(deadline)
	if err != nil {
		d.Close()
	}
	return name, err
}

func (d *Datagrams) exchange(deadline time.Time) (string, error) {
	if err := d.socket.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := d.socket.Write([]byte("who")); err != nil {
		return "", fmt.Errorf("send: %w", unaddressed(err))
	}
	answer := make([]byte, 2048)
	length, err := d.socket.Read(answer)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", unaddressed(err))
	}
	return string(answer[:length]), nil
}

// Close gives the port back.
func (d *Datagrams) Close() {
	if d.socket != nil {
		_ = d.socket.Close()
		d.socket = nil
	}
}

// dial opens a connection, over TLS if there is a configuration for it.
func dial(address string, config *tls.Config, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var dialer net.Dialer
	stream, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil || config == nil {
		return stream, err
	}
	secured := tls.Client(stream, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = stream.Close()
		return nil, unaddressed(err)
	}
	return secured, nil
}

// unaddressed drops the local port from an error, so that equal failures have equal texts.
func unaddressed(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Err != nil {
		return operation.Err
	}
	return err
}
