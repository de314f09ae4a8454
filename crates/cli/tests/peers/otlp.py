"""A collector that reads what it gets with the official classes of OTLP, and says whether one trace goes from a
request through a consumer to its webhook: `crates/cli/tests/peers/otlp.sh`.
"""

import http.server
import json
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
changed = threading.Condition()
spans, logs, hooks = {}, [], []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with changed:
            if self.path == "/v1/traces":
                for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for of_scope in of_resource.scope_spans:
                        spans.update({span.name: span for span in of_scope.spans})
            elif self.path == "/v1/logs":
                for of_resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                    for of_scope in of_resource.scope_logs:
                        logs.extend(of_scope.log_records)
            else:
                hooks.append(self.headers["traceparent"])
            changed.notify_all()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def until(is_so):
    with changed:
        if not changed.wait_for(is_so, timeout=60):
            sys.exit(f"not in a minute: {sorted(spans)}, {hooks}")


def main(ensue):
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{collector.server_port}"
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "ensue.toml")
        config.write_text(
            '[webhooks]\nallow = ["127.0.0.1"]\n[[webhooks.endpoint]]\nname = "shop"\n'
            f'url = "{url}/hook"\ntopics = ["orders"]\nsecrets = {{ env = "SHOP_SECRET" }}\n'
        )
        command = [ensue, "--json", "--engine", f"embedded:{directory}/log", "serve", "--listen", "127.0.0.1:0"]
        environment = {
            "SHOP_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
            "ENSUE_LOG": "debug,hyper=warn",
        }
        with subprocess.Popen(
            command + ["--config", str(config)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            try:
                address = json.loads(server.stdout.readline())["listening"]
                event = {"specversion": "1.0", "id": "1", "source": "/web", "type": "order.created", "topic": "orders"}
                request = urllib.request.Request(
                    f"http://{address}/v1/events", json.dumps(event).encode(), method="POST"
                )
                request.add_header("content-type", "application/cloudevents+json")
                request.add_header("traceparent", f"00-{TRACE}-{CALLER}-01")
                urllib.request.urlopen(request).close()
                names = ["POST /v1/events", "send orders", "process orders", "POST"]
                until(lambda: hooks and all(name in spans for name in names))
                until(lambda: any(record.trace_id.hex() == TRACE for record in logs))
            finally:
                server.terminate()
    parent = CALLER
    kinds = [Span.SPAN_KIND_SERVER, Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT]
    for name, kind in zip(names, kinds):
        span = spans[name]
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, parent, kind), span
        assert span.start_time_unix_nano <= span.end_time_unix_nano, span
        parent = span.span_id.hex()
    assert hooks == [f"00-{TRACE}-{parent}-01"], hooks
    print(f"one trace, {len(names)} spans, {len(logs)} log records")


main(sys.argv[1])
