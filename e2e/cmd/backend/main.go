// Command backend is what the scenarios route to: it answers every request with the name of its pod, and drains on
// SIGTERM as a well-made server does: it goes on serving while the endpoint controllers take it out, but closes each
// connection with its next answer; then it finishes what it has begun, and ends.
//
//	/      POD_NAME (or VERSION, if set) and a newline
//	/echo  host, method, path and headers as JSON
//	/fetch what the URL in ?url= answers, asked for from inside the pod
//	PORT (3000), DRAIN (5s): how long it goes on serving
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	drain, err := time.ParseDuration(setting("DRAIN", "5s"))
	if err != nil {
		return err
	}
	name := setting("VERSION", os.Getenv("POD_NAME"))
	routes := http.NewServeMux()
	routes.HandleFunc("/echo", func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(map[string]any{
			"pod": name, "host": request.Host, "method": request.Method, "path": request.URL.RequestURI(),
			"headers": request.Header,
		})
	})
	routes.HandleFunc("/fetch", func(answer http.ResponseWriter, request *http.Request) {
		client := http.Client{Timeout: 5 * time.Second}
		fetched, err := client.Get(request.URL.Query().Get("url"))
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadGateway)
			return
		}
		defer fetched.Body.Close()
		answer.WriteHeader(fetched.StatusCode)
		_, _ = io.Copy(answer, fetched.Body)
	})
	routes.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("X-Backend", name)
		_, _ = answer.Write([]byte(name + "\n"))
	})
	var draining atomic.Bool
	handler := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if draining.Load() {
			answer.Header().Set("Connection", "close")
		}
		routes.ServeHTTP(answer, request)
	})
	server := &http.Server{Addr: ":" + setting("PORT", "3000"), Handler: handler, ReadHeaderTimeout: 10 * time.Second}

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	draining.Store(true)
	time.Sleep(drain)
	patience, done := context.WithTimeout(context.Background(), 15*time.Second)
	defer done()
	return server.Shutdown(patience)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
