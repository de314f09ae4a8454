"""The SDK for Python: see peer.py."""

import http.client
import http.server
import json
import sys
import threading
import urllib.request
from datetime import datetime, timedelta, timezone

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

PATIENCE_S = 60.0
MODES = ("structured", "binary", "batch")
# What Ensue adds to events that come without.
ADDED = ("topic", "correlationid", "dataversion", "partitionkey", "ensueposition", "ensueappended")


def events(mode):
    """Everything that an event can have, with ids of their own for each mode."""
    everything = {
        "source": "https://example.com/grün?a=b#c",
        "subject": "Zürich, 東京 “1” 100% \"a\"",
        "dataschema": "https://example.com/schema.json",
        "time": datetime(2026, 11, 26, 20, 38, 17, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        "text": "žluťoučký kůň 🐎 %41",
        "blank": "two words",
        "whole": -2147483648,
        "yes": True,
        "reference": "../a/b",
    }
    numbers = {"exact": 123456789012345678901234567890, "below": 9007199254740993, "part": 1.1, "small": 5e-324}
    # The SDK sends JSON without saying so, which is implied in JSON alone.
    json_type = {"datacontenttype": "application/json"} if mode == "binary" else {}

    def event(name, data, **attributes):
        return CloudEvent({"type": f"sdk.{name}", "source": "/sdk/python", "id": f"{mode}-{name}", **attributes}, data)

    return [
        event("everything", {"name": "Žofie", "nested": [1, None, {"a": "b"}]}, **everything, **json_type),
        event("numbers", numbers, **json_type),
        event("text", "žluťoučký\r\n", datacontenttype="text/plain; charset=utf-8"),
        event("bytes", bytes(range(256)), datacontenttype="application/octet-stream"),
        event("nothing", None),
    ]


def send(url, mode, events):
    if mode == "batch":
        # The SDK has no batches, and this is what one is.
        body = b"[" + b",".join(JSONFormat().write(event) for event in events) + b"]"
        messages = [HTTPMessage({"content-type": "application/cloudevents-batch+json"}, body)]
    else:
        write = to_structured_event if mode == "structured" else to_binary_event
        messages = [write(event) for event in events]
    for message in messages:
        # Not by urllib, which adds a content type.
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        connection.request("POST", f"/v1/events?topic=sdk.{mode}", message.body, message.headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{mode}: {body}"
        connection.close()


def read(url, mode, accept):
    request = urllib.request.Request(f"{url}/v1/events?topic=sdk.{mode}", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        body = answer.read()
    if accept == "application/x-ndjson":
        return [JSONFormat().read(None, line) for line in body.splitlines()]
    return [JSONFormat().read(None, json.dumps(event)) for event in json.loads(body)]


def compare(sent, got, mode, how):
    """Attributes in headers are text, whatever they were before."""
    attributes = {name: value for name, value in got.get_attributes().items() if name not in ADDED}
    # What Ensue says of events that come without.
    implied = {"dataschema": f"urn:ensue:{sent.get_type()}:1"}
    if sent.get_data() is not None:
        implied["datacontenttype"] = "application/json"
    expected = {**implied, **sent.get_attributes()}
    if "binary" in (mode, how):
        # The SDK writes a boolean into a header as Python does.
        text = lambda value: "true" if str(value) == "True" else str(value)
        attributes, expected = ({name: text(value) for name, value in it.items()} for it in (attributes, expected))
    if "time" not in expected:
        attributes.pop("time", None)
    assert attributes == expected, f"{mode}, {how}: {attributes} in place of {expected}"
    assert got.get_data() == sent.get_data(), f"{mode}, {how}: {got.get_data()!r} in place of {sent.get_data()!r}"


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    changed = threading.Condition()
    taken = {}

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        event = from_http_event(HTTPMessage(dict(self.headers), body))
        mode = event.get_extension("topic").removeprefix("sdk.")
        with self.changed:
            self.taken[self.path[1:], mode, event.get_id()] = event
            self.changed.notify_all()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{receiver.server_port}", flush=True)
    url, compared = sys.stdin.readline().strip(), 0
    for mode in MODES:
        sent = events(mode)
        send(url, mode, sent)
        for how in ("application/cloudevents-batch+json", "application/x-ndjson"):
            got = read(url, mode, how)
            assert len(got) == len(sent), f"{len(got)} events in place of {len(sent)}"
            for one, other in zip(sent, got):
                compare(one, other, mode, how)
                compared += 1
        for how in ("structured", "binary"):
            for one in sent:
                with Receiver.changed:
                    arrived = lambda: (how, mode, one.get_id()) in Receiver.taken
                    assert Receiver.changed.wait_for(arrived, PATIENCE_S), f"no {how} delivery of {one.get_id()}"
                compare(one, Receiver.taken[how, mode, one.get_id()], mode, how)
                compared += 1
    print(f"Python: {compared} events the same")


main()
