// The SDK for Go: see peer.py.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/types"
)

const patience = time.Minute

// What Ensue adds to events that come without.
var added = []string{"topic", "correlationid", "dataversion", "partitionkey", "ensueposition", "ensueappended"}

// Everything that an event can have, with ids of their own for each mode.
func events(mode string) []ce.Event {
	everything := of(mode, "everything")
	everything.SetSource("https://example.com/green?a=b#c")
	everything.SetSubject("Zürich, 東京 “1” 100% \"a\"")
	everything.SetDataSchema("https://example.com/schema.json")
	everything.SetTime(time.Date(2026, 11, 26, 20, 38, 17, 123456000, time.FixedZone("", 19800)))
	text := "žluťoučký kůň 🐎"
	if mode != "binary" {
		// The SDK does not percent-encode headers, and what looks like it is decoded.
		text += " %41"
		everything.SetSource("https://example.com/gr%C3%BCn?a=b#c")
	}
	everything.SetExtension("text", text)
	everything.SetExtension("blank", "two words")
	everything.SetExtension("whole", int32(-2147483648))
	everything.SetExtension("yes", true)
	everything.SetExtension("reference", *types.ParseURIRef("../a/b"))
	everything.SetExtension("bytes", []byte{0, 255, 1})
	must(everything.SetData(ce.ApplicationJSON, map[string]any{"name": "Žofie", "nested": []any{1, nil}}))

	numbers := of(mode, "numbers")
	must(numbers.SetData(ce.ApplicationJSON, raw(`{"exact":123456789012345678901234567890,"price":1.10,"a":1,"a":2}`)))
	plain := of(mode, "text")
	must(plain.SetData(ce.TextPlain, "žluťoučký\r\n"))
	binary := of(mode, "bytes")
	all := make([]byte, 256)
	for at := range all {
		all[at] = byte(at)
	}
	must(binary.SetData("application/octet-stream", all))
	return []ce.Event{everything, numbers, plain, binary, of(mode, "nothing")}
}

// JSON as it is.
type raw string

func (text raw) MarshalJSON() ([]byte, error) { return []byte(text), nil }

func of(mode, name string) ce.Event {
	event := ce.NewEvent()
	event.SetID(mode + "-" + name)
	event.SetType("sdk." + name)
	event.SetSource("/sdk/go")
	return event
}

// With the SDK's client, except for batches, of which it makes requests.
func send(server, mode string, events []ce.Event) {
	target := server + "/v1/events?topic=sdk." + mode
	ctx := ce.ContextWithTarget(context.Background(), target)
	switch mode {
	case "batch":
		request, err := ce.NewHTTPRequestFromEvents(ctx, target, events)
		must(err)
		answer, err := http.DefaultClient.Do(request)
		must(err)
		body, err := io.ReadAll(answer.Body)
		must(err)
		if answer.StatusCode != http.StatusOK {
			fail("batch: %s %s", answer.Status, body)
		}
		return
	case "structured":
		ctx = ce.WithEncodingStructured(ctx)
	default:
		ctx = ce.WithEncodingBinary(ctx)
	}
	client, err := ce.NewClientHTTP()
	must(err)
	for _, event := range events {
		if result := client.Send(ctx, event); !ce.IsACK(result) {
			fail("%s: %s is not acknowledged: %v", mode, event.ID(), result)
		}
	}
}

func read(server, mode, accept string) []ce.Event {
	request, err := http.NewRequest(http.MethodGet, server+"/v1/events?topic=sdk."+mode, nil)
	must(err)
	request.Header.Set("accept", accept)
	answer, err := http.DefaultClient.Do(request)
	must(err)
	defer answer.Body.Close()
	if accept == ce.ApplicationCloudEventsBatchJSON {
		events, err := ce.NewEventsFromHTTPResponse(answer)
		must(err)
		return events
	}
	var events []ce.Event
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		var event ce.Event
		must(event.UnmarshalJSON(lines.Bytes()))
		events = append(events, event)
	}
	must(lines.Err())
	return events
}

func compare(sent, got ce.Event, mode, how string) {
	where := mode + ", " + how + ", " + sent.ID()
	must(got.Validate())
	for _, name := range added {
		got.SetExtension(name, nil)
	}
	// What Ensue says of events that come without.
	if sent.Time().IsZero() {
		got.SetTime(time.Time{})
	}
	if sent.DataSchema() == "" {
		sent.SetDataSchema("urn:ensue:" + sent.Type() + ":1")
	}
	of := func(event ce.Event, decode func(string) string) []any {
		attributes := []any{event.ID(), event.Type(), decode(event.Source()), decode(event.Subject()),
			event.DataSchema(), event.DataContentType(), event.Time().UnixNano()}
		// The types of extensions are not on the wire, except for numbers and booleans in JSON.
		extensions := map[string]string{}
		for name, value := range event.Extensions() {
			text, err := types.Format(value)
			must(err)
			extensions[name] = decode(text)
		}
		return append(attributes, extensions)
	}
	asItIs := func(text string) string { return text }
	decode := asItIs
	if how == "binary" {
		// The SDK leaves what is percent-encoded in headers as it is.
		decode = func(text string) string {
			decoded, err := url.PathUnescape(text)
			must(err)
			return decoded
		}
	}
	if is, was := of(got, decode), of(sent, asItIs); !reflect.DeepEqual(is, was) {
		fail("%s:\n%v in place of\n%v", where, is, was)
	}
	if !bytes.Equal(got.Data(), sent.Data()) {
		fail("%s: the data is %q in place of %q", where, got.Data(), sent.Data())
	}
	if mode != "binary" && how != "binary" && sent.Extensions()["yes"] != nil && got.Extensions()["yes"] != true {
		fail("%s: a boolean is %T", where, got.Extensions()["yes"])
	}
}

// Deliveries of webhooks, by endpoint and id.
type deliveries struct {
	lock  sync.Mutex
	taken map[string]ce.Event
}

func (taken *deliveries) wait(how, id string) ce.Event {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		taken.lock.Lock()
		event, has := taken.taken[how+" "+id]
		taken.lock.Unlock()
		if has {
			return event
		}
	}
	fail("no %s delivery of %s", how, id)
	return ce.Event{}
}

// Takes deliveries at an address, with a receiver of the SDK for each endpoint.
func (taken *deliveries) listen() string {
	mux := http.NewServeMux()
	for _, how := range []string{"structured", "binary"} {
		protocol, err := ce.NewHTTP()
		must(err)
		keep := func(event ce.Event) {
			taken.lock.Lock()
			defer taken.lock.Unlock()
			taken.taken[how+" "+event.ID()] = event
		}
		handler, err := ce.NewHTTPReceiveHandler(context.Background(), protocol, keep)
		must(err)
		mux.Handle("/"+how, handler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() { must(http.Serve(listener, mux)) }()
	return "http://" + listener.Addr().String()
}

func main() {
	taken := deliveries{taken: map[string]ce.Event{}}
	fmt.Println(taken.listen())
	server, err := bufio.NewReader(os.Stdin).ReadString('\n')
	must(err)
	server = strings.TrimSpace(server)
	compared := 0
	for _, mode := range []string{"structured", "binary", "batch"} {
		sent := events(mode)
		send(server, mode, sent)
		for _, accept := range []string{ce.ApplicationCloudEventsBatchJSON, "application/x-ndjson"} {
			got := read(server, mode, accept)
			if len(got) != len(sent) {
				fail("%s, %s: %d events in place of %d", mode, accept, len(got), len(sent))
			}
			for at := range sent {
				compare(sent[at], got[at], mode, accept)
				compared++
			}
		}
		for _, how := range []string{"structured", "binary"} {
			for _, event := range sent {
				compare(event, taken.wait(how, event.ID()), mode, how)
				compared++
			}
		}
	}
	fmt.Printf("Go: %d events the same\n", compared)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func fail(format string, words ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", words...)
	os.Exit(1)
}
