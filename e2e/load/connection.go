package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// connection is one client's, opened when needed. net/http's own client is not used: it repeats a request whose reused
// connection broke, which is the very thing to be counted.
type connection struct {
	load   Load
	stream net.Conn
	reader *bufio.Reader
}

func (c *connection) request() (status int, backend string, err error) {
	deadline := time.Now().Add(patience)
	if c.load.Fresh || c.closedByPeer() {
		c.close()
	}
	if c.stream == nil {
		if err := c.open(deadline); err != nil {
			return 0, "", fmt.Errorf("connect: %w", err)
		}
	}
	status, backend, err = c.exchange(deadline)
	if err != nil {
		c.close()
	}
	return status, backend, err
}

func (c *connection) exchange(deadline time.Time) (int, string, error) {
	if err := c.stream.SetDeadline(deadline); err != nil {
		return 0, "", err
	}
	if _, err := fmt.Fprintf(c.stream, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.load.Path, c.load.Host); err != nil {
		return 0, "", fmt.Errorf("send: %w", unaddressed(err))
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, "", fmt.Errorf("read answer: %w", unaddressed(err))
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0, "", fmt.Errorf("read body: %w", unaddressed(err))
	}
	if answer.Close {
		c.close()
	}
	return answer.StatusCode, answer.Header.Get("X-Backend"), nil
}

func (c *connection) open(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var dialer net.Dialer
	stream, err := dialer.DialContext(ctx, "tcp", c.load.Address)
	if err != nil {
		return err
	}
	if c.load.TLS != nil {
		secured := tls.Client(stream, c.load.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = stream.Close()
			return unaddressed(err)
		}
		stream = secured
	}
	c.stream, c.reader = stream, bufio.NewReader(stream)
	return nil
}

// closedByPeer looks whether the idle connection was closed before anything is sent on it.
func (c *connection) closedByPeer() bool {
	if c.stream == nil {
		return false
	}
	if c.load.TLS != nil {
		return false // a short read deadline would break the TLS connection for good
	}
	if err := c.stream.SetReadDeadline(time.Now().Add(50 * time.Microsecond)); err != nil {
		return true
	}
	_, err := c.reader.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *connection) close() {
	if c.stream != nil {
		_ = c.stream.Close()
		c.stream, c.reader = nil, nil
	}
}

// unaddressed drops the local port from an error, so that equal failures have equal texts.
func unaddressed(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Err != nil {
		return operation.Err
	}
	return err
}
