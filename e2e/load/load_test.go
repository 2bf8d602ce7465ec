package load

import (
	"context"
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
