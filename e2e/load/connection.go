package load

import (
	"bufio"
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

func (c *connection) Ask(deadline time.Time) (string, error) {
	if c.closedByPeer() {
		c.Close()
	}
	if c.stream == nil {
		stream, err := dial(c.load.Address, c.load.TLS, deadline)
		if err != nil {
			return "", fmt.Errorf("connect: %w", err)
		}
		c.stream, c.reader = stream, bufio.NewReader(stream)
	}
	status, backend, err := c.exchange(deadline)
	if err != nil {
		c.Close()
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("status %d", status)
	}
	return backend, nil
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
		c.Close()
	}
	return answer.StatusCode, answer.Header.Get("X-Backend"), nil
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

func (c *connection) Close() {
	if c.stream != nil {
		_ = c.stream.Close()
		c.stream, c.reader = nil, nil
	}
}
