package load

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestCountsAnswersAndEveryFailure(t *testing.T) {
	var number atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		switch number.Add(1) % 4 {
		case 0:
			answer.WriteHeader(http.StatusBadGateway)
		case 1:
			panic(http.ErrAbortHandler) // the connection breaks under the request
		case 2:
			answer.Header().Set("Connection", "close")
			fallthrough
		default:
			answer.Header().Set("X-Backend", "a")
		}
	}))
	defer server.Close()
	run := Start(context.Background(), Load{Address: strings.TrimPrefix(server.URL, "http://"), Host: "x", Pace: time.Millisecond})
	for run.Count().Requests < 200 {
		time.Sleep(time.Millisecond)
	}
	count := run.Stop()
	if served := int(number.Load()); served != count.Requests {
		t.Errorf("the server saw %d requests, the clients counted %d: something was repeated", served, count.Requests)
	}
	if want := count.Requests / 4; count.Failures["status 502"] < want-4 || count.Answers["a"] < 2*want-4 {
		t.Errorf("a quarter fails with 502, a quarter breaks, half succeed; got %s %v", count, count.Answers)
	}
	if broken := count.Failed - count.Failures["status 502"]; broken < count.Requests/4-4 {
		t.Errorf("broken connections must be counted; got %s", count)
	}
	if share := count.Share("a"); share != 1 {
		t.Errorf("share of the only backend is %v", share)
	}
}

func TestLinesKeepTheirConnectionAndCountWhenItIsClosed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var connections atomic.Int64
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer connection.Close()
				asked := bufio.NewScanner(connection)
				for number := 0; number < 50 && asked.Scan(); number++ { // then it is closed while idle
					_, _ = connection.Write([]byte("a\n"))
				}
			}()
		}
	}()
	client := func() Client { return &Lines{Address: listener.Addr().String()} }
	count := sent(Load{Clients: 1, Pace: time.Millisecond, New: client}, 120)
	if count.Failed < 1 || count.Failed > 2+count.Requests/50 || count.Answers["a"] != count.Requests-count.Failed ||
		connections.Load() > int64(count.Failed)+1 {
		t.Errorf("%d connections: %s", connections.Load(), count)
	}
	before := connections.Load()
	count = sent(Load{Clients: 1, Pace: time.Millisecond, New: client, Fresh: true}, 20)
	if count.Failed > 0 || connections.Load()-before != int64(count.Requests) {
		t.Errorf("%d new connections: %s", connections.Load()-before, count)
	}
}

func TestADatagramWithoutAnAnswerIsCounted(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buffer := make([]byte, 100)
		for number := 0; ; number++ {
			_, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			if number != 3 {
				_, _ = server.WriteTo([]byte("a"), from)
			}
		}
	}()
	client := &Datagrams{Address: server.LocalAddr().String()}
	defer client.Close()
	for number := range 6 {
		name, err := client.Ask(time.Now().Add(100 * time.Millisecond))
		if lost := number == 3; (err != nil) != lost || (!lost && name != "a") {
			t.Errorf("datagram %d: %q, %v", number, name, err)
		}
	}
}

// sent runs the load until so many have been asked.
func sent(load Load, number int) Count {
	run := Start(context.Background(), load)
	for run.Count().Requests < number {
		time.Sleep(time.Millisecond)
	}
	return run.Stop()
}
