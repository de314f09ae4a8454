"""The document of the API, held against the specification of OpenAPI 3.1 by openapi-spec-validator; and what the server
answers, held against the document by jsonschema."""

import json
import subprocess
import sys
import urllib.error
import urllib.request

from ensue import PATIENCE_S, Server
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

EVENT, BATCH, JSON = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"


def event(id, **more):
    return {"specversion": "1.0", "id": id, "source": "/shop", "type": "order.created", "topic": "orders", **more}


class Described:
    """A client that looks at each answer."""

    def __init__(self, server, document):
        self.server, self.document, self.count = server, document, 0

    def call(self, method, template, status, body=None, media=JSON, query="", accept="*/*", **names):
        operation = self.document["paths"][template][method.lower()]
        path = template.format(**names) + query
        data = None if body is None else json.dumps(body).encode()
        headers = {"accept": accept} | ({"content-type": media} if data else {})
        request = urllib.request.Request(self.server.url + path, data, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text, media = answer.read().decode(), answer.headers.get_content_type()
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status}, not {status}: {text}")
        schema = operation["responses"][str(status)]["content"][media]["schema"]
        read = json.loads(text) if media.endswith("json") and "ndjson" not in media else text
        self.check(schema, read, f"{method} {path}")
        self.count += 1
        return read

    def check(self, schema, value, what):
        schema = {**schema, "components": self.document["components"]}
        problems = list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(value))
        if problems:
            raise SystemExit(f"{what} is not as the document says: {problems[0].message}\n{value}")


def tasks(client):
    call = client.call
    call("POST", "/v1/events", 200, event("1", subject="o-17", data={"price": 1.10}), EVENT)
    call("POST", "/v1/events", 200, [event("2"), event("3", time="2030-01-31T12:00:00Z")], BATCH)
    call("POST", "/v1/events", 207, [event("4"), {}], BATCH, "?atomic=false")
    call("POST", "/v1/events", 409, event("5", subject="o-17"), EVENT, "?expect=absent")
    call("POST", "/v1/events", 200, event("6"), EVENT, "?after=1h&timer=soon")
    call("POST", "/v1/events", 400, [event("7"), {}], BATCH)
    call("POST", "/v1/events", 415, "what", "text/plain")
    call("GET", "/v1/events", 200, query="?filter=type%20LIKE%20%27order.%25%27")
    call("GET", "/v1/events", 200, accept="application/x-ndjson")
    for read in call("GET", "/v1/events", 200, accept=BATCH):
        client.check({"$ref": "#/components/schemas/RecordedEvent"}, read, "an event")
    call("GET", "/v1/events", 400, query="?topics=orders")
    call("GET", "/v1/schedules", 200)
    call("DELETE", "/v1/schedules", 200, query="?source=/shop&name=soon")
    call("DELETE", "/v1/schedules", 404, query="?source=/shop&name=soon")
    names = {"group": "billing"}
    join = {"topics": ["orders"], "lease": "5m", "key_events_max": 10}
    names["member"] = call("POST", "/v1/groups/{group}/members", 200, join, **names)["member"]
    member = "/v1/groups/{group}/members/{member}"
    taken = call("POST", member + "/take", 200, query="?state=total", **names)["deliveries"]
    places = [{"position": one["position"], "generation": one["generation"]} for one in taken]
    bill = {"event": {"type": "bill.sent", "topic": "bills"}}
    commit = {"settle": [{**places[0], "effects": [bill], "state": {"total": 1.10}}],
              "dead": [{**places[1], "reason": "no such customer"}]}
    call("POST", member + "/commit", 200, commit, **names)
    call("POST", member + "/commit", 409, commit, **names)
    call("POST", member + "/renew", 200, **names)
    call("GET", "/v1/dead-letters", 200)
    dead = "/v1/groups/{group}/dead-letters"
    call("GET", dead + "/{position}", 200, position=places[1]["position"], **names)
    call("POST", dead + "/redrive", 200, {"all": True, "dry_run": True}, **names)
    call("POST", dead + "/discard", 200, {"all": True}, **names)
    call("GET", "/v1/groups", 200)
    call("GET", "/v1/groups/{group}", 200, **names)
    call("POST", "/v1/groups/{group}/reset", 200, {"to": "earliest", "state": "afresh", "dry_run": True}, **names)
    call("DELETE", "/v1/groups/{group}", 409, **names)
    call("DELETE", member, 200, **names)
    call("DELETE", "/v1/groups/{group}", 200, **names)
    call("GET", "/v1/groups/{group}", 404, **names)
    call("POST", "/v1/requests", 504, event("8", topic="quotes"), EVENT, "?deadline=50ms")
    for path in ["/v1/webhooks", "/v1/status", "/v1/session", "/livez", "/readyz", "/metrics", "/v1/openapi.json"]:
        call("GET", path, 200)


def main(ensue):
    printed = subprocess.run([ensue, "serve", "--openapi"], stdout=subprocess.PIPE, check=True).stdout
    with Server(ensue) as server:
        published = server.request("/v1/openapi.json")
        assert json.loads(published) == json.loads(printed), "`ensue serve --openapi` prints another document"
        document = json.loads(published)
        OpenAPIV31SpecValidator(document).validate()
        client = Described(server, document)
        tasks(client)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    print(f"a valid document of {len(operations)} operations, {client.count} answers as it says")


main(sys.argv[1])
