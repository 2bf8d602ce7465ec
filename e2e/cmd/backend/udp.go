package main

import (
	"context"
	"errors"
	"net"
	"time"
)

// datagrams answers every datagram with its name, and ends a while after the context.
func datagrams(stop context.Context, name, address string, delay time.Duration) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(stop, func() {
		time.Sleep(delay)
		_ = socket.Close()
	})
	buffer := make([]byte, 64<<10)
	for {
		_, from, err := socket.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		// Who asked may be gone: that is no reason to end.
		_, _ = socket.WriteTo([]byte(name), from)
	}
}
