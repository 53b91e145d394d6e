// Sends requests at a fixed rate until its standard input ends, and reports every one that failed, as JSON.
//
// Four kinds of clients take turns: HTTP/1.1 and HTTP/2, each with kept and with new connections. Go's own client stands
// for a correct one. It repeats a request on another connection only where HTTP says that this is safe: a GET on a kept
// connection that was closed before the first byte of an answer (RFC 9112, 9.3.1), or a stream that the server's GOAWAY
// declared unprocessed (RFC 9113, 6.8). Where GOAWAY comes on a new connection, before the request was sent, Go leaves it to
// its caller to ask again: once, here. Each repetition is counted, so that nothing is hidden. A request that was sent on a
// new connection is never repeated. What isn't the whole expected answer, in time, is a failure.
//
// Requests start when they are due, whatever became of those before: a server that stalls is not spared.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"
)

// notSent is how Go names a connection that the server closed before its first request. The error itself is not exported.
const notSent = "http2: client conn could not be established"

// Report is what one kind of client saw.
type Report struct {
	Requests    int            `json:"requests"`
	Failed      int            `json:"failed"`
	Failures    map[string]int `json:"failures"`
	Repeated    int            `json:"repeated"`
	Connections int            `json:"connections"`
	Answers     map[string]int `json:"answers"`
	SlowestMs   int64          `json:"slowest_ms"`
	lock        sync.Mutex
	kept        []*http.Transport
}

// kind makes a kind of clients; without kept connections each request has a transport, and so a connection, of its own.
func kind(http2 bool, kept int, address string) *Report {
	report := &Report{Failures: map[string]int{}, Answers: map[string]int{}}
	for range kept {
		report.kept = append(report.kept, report.transport(http2, address))
	}
	return report
}

func (report *Report) transport(http2 bool, address string) *http.Transport {
	transport := &http.Transport{
		ForceAttemptHTTP2: http2,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				report.lock.Lock()
				report.Connections++
				report.lock.Unlock()
			}
			return connection, err
		},
	}
	if !http2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return transport
}

func (report *Report) send(number int, url string, size int64, protocol, address string, timeout time.Duration) {
	var transport *http.Transport
	if len(report.kept) > 0 {
		transport = report.kept[number%len(report.kept)]
	} else {
		transport = report.transport(protocol == "HTTP/2.0", address)
		defer transport.CloseIdleConnections()
	}
	tries, again := 0, 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { tries++ }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", url, nil)
	if err != nil {
		panic(err)
	}
	start := time.Now()
	text, failure := "", ""
	client := &http.Client{Transport: transport, Timeout: timeout}
	response, err := client.Do(request)
	if err != nil && strings.HasSuffix(err.Error(), notSent) {
		again = 1
		response, err = client.Do(request)
	}
	if err == nil {
		var body []byte
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
		switch {
		case err != nil:
		case response.StatusCode != 200:
			failure = response.Status
		case response.Proto != protocol:
			failure = "answered over " + response.Proto
		case size > 0 && int64(len(body)) != size:
			failure = fmt.Sprintf("%d bytes instead of %d", len(body), size)
		case size == 0:
			text = strings.TrimSpace(string(body))
		}
	}
	if err != nil {
		failure = err.Error()
	}
	took := time.Since(start).Milliseconds()
	report.lock.Lock()
	defer report.lock.Unlock()
	report.Requests++
	report.Repeated += max(tries-1, again)
	report.SlowestMs = max(report.SlowestMs, took)
	if failure != "" {
		report.Failed++
		report.Failures[failure]++
	} else if text != "" {
		report.Answers[text]++
	}
}

func main() {
	address := flag.String("address", "", "where to connect to, host:port")
	host := flag.String("host", "", "the name in the URL")
	rate := flag.Int("rate", 200, "requests a second, all kinds together")
	fresh := flag.Int("new", 2, "one request in so many is on a new connection")
	clients := flag.Int("clients", 8, "kept connections of each kind")
	size := flag.Int64("slow", 0, "length of /slow, which every tenth request of a kind asks for; 0 for none")
	timeout := flag.Duration("timeout", 60*time.Second, "for a whole answer")
	flag.Parse()

	kinds := map[string]*Report{
		"http1 new":  kind(false, 0, *address),
		"http1 kept": kind(false, *clients, *address),
		"http2 new":  kind(true, 0, *address),
		"http2 kept": kind(true, *clients, *address),
	}
	order := []string{}
	for turn := range *fresh {
		if turn == 0 {
			order = append(order, "http1 new", "http2 new")
		} else {
			order = append(order, "http1 kept", "http2 kept")
		}
	}
	numbers := map[string]int{}
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	var running sync.WaitGroup
	begin := time.Now()
	fmt.Println("started")
	for sent := 0; ; sent++ {
		due := begin.Add(time.Duration(sent) * time.Second / time.Duration(*rate))
		select {
		case <-done:
			seconds := time.Since(begin).Seconds()
			running.Wait()
			if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"kinds": kinds, "sent": sent, "seconds": seconds}); err != nil {
				panic(err)
			}
			return
		case <-time.After(time.Until(due)):
		}
		name := order[sent%len(order)]
		number := numbers[name]
		numbers[name]++
		url, length, protocol := "https://"+*host+"/", int64(0), "HTTP/1.1"
		if *size > 0 && number%10 == 9 {
			url, length = url+"slow", *size
		}
		if strings.HasPrefix(name, "http2") {
			protocol = "HTTP/2.0"
		}
		running.Go(func() { kinds[name].send(number, url, length, protocol, *address, *timeout) })
	}
}
