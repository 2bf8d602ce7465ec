// Package load asks at a steady pace and counts what comes back: HTTP/1.1 requests, or what a client of another protocol
// sends. It hides nothing: the clients keep connections alive, never retry, and everything but a good answer is a failure
// that is counted with its text. What a careful client may do, they do too: one of HTTP that sees its idle connection
// closed before it sends opens another.
package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Load is what to send. It ends by itself after five minutes.
type Load struct {
	Address string // host:port to dial
	Host    string // of the request
	Path    string // "/" if empty
	TLS     *tls.Config
	Clients int           // 4 if zero; each sends one request at a time
	Pace    time.Duration // of each client, from the start of a request to that of the next; 5 ms if zero
	Fresh   bool          // a new connection for every request
	New     func() Client // makes each client; of HTTP/1.1 if nil, and only those look at the first four fields
}

// Client asks one thing at a time. Whatever goes wrong is an error, whose text is counted; it never asks twice.
type Client interface {
	// Ask returns the name of who answered.
	Ask(deadline time.Time) (backend string, err error)
	// Close ends the connection, if there is one; the next Ask opens another.
	Close()
}

const (
	longest  = 5 * time.Minute
	patience = 5 * time.Second // for one request, the connection included
	distinct = 20              // failures kept apart by text
)

// Run is a load under way.
type Run struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mutex sync.Mutex
	count Count
}

// Count is what came back so far.
type Count struct {
	Requests int
	Failed   int
	Failures map[string]int // by text
	Answers  map[string]int // successful ones, by the backend's name
	Slowest  time.Duration
}

// Start sends until Stop, or until the context or five minutes have ended.
func Start(ctx context.Context, load Load) *Run {
	if load.Clients == 0 {
		load.Clients = 4
	}
	if load.Pace == 0 {
		load.Pace = 5 * time.Millisecond
	}
	if load.Path == "" {
		load.Path = "/"
	}
	bounded, stop := context.WithTimeout(ctx, longest)
	run := &Run{stop: stop, count: Count{Failures: map[string]int{}, Answers: map[string]int{}}}
	for range load.Clients {
		run.done.Go(func() { run.client(bounded, load) })
	}
	return run
}

// Stop ends the load after the requests under way, and returns the whole count.
func (r *Run) Stop() Count {
	r.stop()
	r.done.Wait()
	return r.Count()
}

// Count is a copy of the count so far.
func (r *Run) Count() Count {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	copied := r.count
	copied.Failures, copied.Answers = maps.Clone(r.count.Failures), maps.Clone(r.count.Answers)
	return copied
}

func (r *Run) client(ctx context.Context, load Load) {
	var client Client = &connection{load: load}
	if load.New != nil {
		client = load.New()
	}
	defer client.Close()
	ticker := time.NewTicker(load.Pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		backend, err := client.Ask(began.Add(patience))
		r.note(backend, err, time.Since(began))
		if load.Fresh {
			client.Close()
		}
	}
}

func (r *Run) note(backend string, err error, took time.Duration) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.count.Requests++
	r.count.Slowest = max(r.count.Slowest, took)
	if err == nil {
		r.count.Answers[backend]++
		return
	}
	text := err.Error()
	if _, known := r.count.Failures[text]; !known && len(r.count.Failures) >= distinct {
		text = "others"
	}
	r.count.Failed++
	r.count.Failures[text]++
}

// Since is what came back after an earlier count.
func (c Count) Since(earlier Count) Count {
	difference := Count{
		Requests: c.Requests - earlier.Requests, Failed: c.Failed - earlier.Failed, Slowest: c.Slowest,
		Failures: map[string]int{}, Answers: map[string]int{},
	}
	for text, number := range c.Failures {
		difference.Failures[text] = number - earlier.Failures[text]
	}
	for name, number := range c.Answers {
		difference.Answers[name] = number - earlier.Answers[name]
	}
	return difference
}

// Share is the part of the successful answers that came from one backend.
func (c Count) Share(backend string) float64 {
	return float64(c.Answers[backend]) / float64(max(c.Requests-c.Failed, 1))
}

func (c Count) String() string {
	text := fmt.Sprintf("%d requests, %d failed, slowest %s", c.Requests, c.Failed, c.Slowest.Round(time.Millisecond))
	for _, failure := range slices.Sorted(maps.Keys(c.Failures)) {
		text += fmt.Sprintf("\n  %5d × %s", c.Failures[failure], strings.TrimSpace(failure))
	}
	return text
}
