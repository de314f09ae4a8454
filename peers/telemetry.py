"""What the peers that take telemetry have in common: one event that goes through the server to a webhook, and what its
trace has to be."""

import json

from ensue import Server

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
# What one event causes, each the parent of the next; with their kinds, as OTLP numbers them.
SPANS = {"POST /v1/events": 2, "send orders": 4, "process orders": 5, "POST": 3}
CONFIG = """
[webhooks]
allow = ["127.0.0.1"]
[[webhooks.endpoint]]
name = "shop"
url = "{url}/hook"
topics = ["orders"]
secrets = {{ file = "secrets" }}
"""


class Traced:
    """A server that sends telemetry to `collector` (OTLP over HTTP) and webhooks to `receiver`, once one event has gone
    through it."""

    def __init__(self, program, collector, receiver):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
            "ENSUE_LOG": "debug,hyper=warn",
        }
        self._server = Server(program, CONFIG.format(url=receiver), environment)
        self._server.write("secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")

    def __enter__(self):
        self._server.__enter__()
        event = {"specversion": "1.0", "id": "1", "source": "/web", "type": "order.created", "topic": "orders"}
        headers = {"content-type": "application/cloudevents+json", "traceparent": f"00-{TRACE}-{CALLER}-01"}
        self._server.request("/v1/events", json.dumps(event), headers)
        return self._server

    def __exit__(self, *error):
        self._server.__exit__(*error)


def check(spans, log_traces, hook):
    """`spans` by name: `(trace, span, parent, kind, start, end)`, ids in hexadecimal digits; `log_traces` the traces of
    log records; `hook` the `traceparent` that the webhook came with."""
    parent = CALLER
    for name, kind in SPANS.items():
        trace, span, of, is_kind, start, end = spans[name]
        assert (trace, of, is_kind) == (TRACE, parent, kind), (name, spans[name])
        assert start <= end, (name, spans[name])
        parent = span
    assert hook == f"00-{TRACE}-{parent}-01", hook
    assert TRACE in log_traces
    return f"one trace of {len(SPANS)} spans from the request to the webhook, and {len(log_traces)} log records"
