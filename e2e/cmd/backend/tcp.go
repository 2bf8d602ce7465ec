package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
)

// lines answers every line over TCP with its name and a newline.
type lines struct {
	name string

	mutex    sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
	done     sync.WaitGroup
}

func (l *lines) serve(listener net.Listener) error {
	l.mutex.Lock()
	l.listener, l.open = listener, map[net.Conn]bool{}
	l.mutex.Unlock()
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		l.mutex.Lock()
		l.open[connection] = true
		l.mutex.Unlock()
		l.done.Go(func() { l.answer(connection) })
	}
}

func (l *lines) answer(connection net.Conn) {
	defer func() {
		_ = connection.Close()
		l.mutex.Lock()
		delete(l.open, connection)
		l.mutex.Unlock()
	}()
	for asked := bufio.NewScanner(connection); asked.Scan(); {
		if _, err := connection.Write([]byte(l.name + "\n")); err != nil {
			return
		}
	}
}

// drain closes connections between two lines, which is all that this protocol lets a server do.
func (l *lines) drain(patience context.Context) error {
	l.mutex.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
	}
	for connection := range l.open {
		_ = connection.Close()
	}
	l.mutex.Unlock()
	ended := make(chan struct{})
	go func() {
		l.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-patience.Done():
		return patience.Err()
	}
}
