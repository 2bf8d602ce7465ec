package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// web answers over HTTP/1.1, and closes each connection with its next answer once it is to end.
//
//	/      its name and a newline
//	/echo  host, method, path and headers as JSON
//	/fetch what the URL in ?url= answers, asked for from inside the pod
type web struct{ http.Server }

func newHTTP(name string, stop context.Context) *web {
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
	handler := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if stop.Err() != nil {
			answer.Header().Set("Connection", "close")
		}
		routes.ServeHTTP(answer, request)
	})
	return &web{http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}}
}

func (w *web) serve(listener net.Listener) error {
	if err := w.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (w *web) drain(patience context.Context) error { return w.Shutdown(patience) }
