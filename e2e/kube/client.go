// Package kube is the little that the cluster and its scenarios ask of the API server: JSON over HTTPS, without the
// weight of the official client. Manifests of users go through kubectl instead, as users send them.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Client speaks to one API server with a client certificate.
type Client struct {
	server string
	http   *http.Client
}

// New reads the authority, the certificate and the key of the client from files.
func New(server, authority, certificate, key string) (*Client, error) {
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	return &Client{server: server, http: &http.Client{Transport: transport}}, nil
}

// Error is an answer other than 2xx.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("API server answered %d: %s", e.Code, e.Message) }

// IsNotFound says whether the object does not exist.
func IsNotFound(err error) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.Code == http.StatusNotFound
}

// Get reads an object, a list or a table into `into`.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, "", nil, into)
}

// Create posts an object to the path of its kind.
func (c *Client) Create(ctx context.Context, path string, object any) error {
	return c.call(ctx, http.MethodPost, path, "application/json", object, nil)
}

// Merge applies a JSON merge patch.
func (c *Client) Merge(ctx context.Context, path string, patch any) error {
	return c.call(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, nil)
}

// Delete deletes an object, or all objects of a list.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.call(ctx, http.MethodDelete, path, "", nil, nil)
}

func (c *Client) call(ctx context.Context, method, path, contentType string, object, into any) error {
	var body io.Reader
	if object != nil {
		encoded, err := json.Marshal(object)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	response, err := c.send(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, response.Body)
		return err
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (c *Client) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	var status struct{ Message string }
	if json.Unmarshal(text, &status) != nil || status.Message == "" {
		status.Message = string(text)
	}
	return nil, &Error{Code: response.StatusCode, Message: status.Message}
}

// Event is one line of a watch.
type Event struct {
	Type   string // ADDED, MODIFIED, DELETED, ERROR
	Object json.RawMessage
}

// Watch hands every event of the path to `each` until that says stop, the server ends the watch or the context ends.
// The path carries its own query, with watch=1.
func (c *Client) Watch(ctx context.Context, path string, each func(Event) (stop bool)) error {
	response, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for decoder := json.NewDecoder(response.Body); ; {
		var event Event
		if err := decoder.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return err
		}
		if event.Type == "ERROR" {
			return fmt.Errorf("watch %s: %s", path, event.Object)
		}
		if each(event) {
			return nil
		}
	}
}
