"""An OpenTelemetry Collector takes what the server sends, and sends it on as JSON: one trace goes from a request through
a consumer to its webhook."""

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from ensue import Receiver, until
from telemetry import SPANS, TRACE, Traced, check

CONFIG = """
receivers:
  otlp: {{ protocols: {{ http: {{ endpoint: "127.0.0.1:{port}" }} }} }}
processors:
  batch: {{ timeout: 50ms }}
exporters:
  otlp_http: {{ endpoint: "{url}", encoding: json, compression: none }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    traces: {{ receivers: [otlp], processors: [batch], exporters: [otlp_http] }}
    logs: {{ receivers: [otlp], processors: [batch], exporters: [otlp_http] }}
"""


def items(taken, path, *names):
    """What is in all bodies of a path, below lists of these names."""
    found = [json.loads(body) for is_path, _, body in taken if is_path == path]
    for name in names:
        found = [item for one in found for item in one.get(name, [])]
    return found


def spans(taken):
    found = {}
    for span in items(taken, "/v1/traces", "resourceSpans", "scopeSpans", "spans"):
        ids = (span["traceId"], span["spanId"], span["parentSpanId"])
        found[span["name"]] = (*ids, span["kind"], int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))
    return found


def log_traces(taken):
    records = items(taken, "/v1/logs", "resourceLogs", "scopeLogs", "logRecords")
    return [record.get("traceId", "") for record in records]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(program, collector):
    receiver = Receiver(lambda path, headers, body: 204 if path == "/hook" else 200)
    is_whole = lambda taken: SPANS.keys() <= spans(taken).keys() and TRACE in log_traces(taken)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        config, log = Path(directory, "otelcol.yaml"), Path(directory, "otelcol.log")
        config.write_text(CONFIG.format(port=port, url=receiver.url))
        with open(log, "wb") as said:
            running = subprocess.Popen([collector, "--config", str(config)], stdout=said, stderr=said)
        try:
            until(lambda: listens(port) or running.poll() is not None)
            with Traced(program, f"http://127.0.0.1:{port}", receiver.url):
                taken = receiver.until(is_whole)
        except BaseException:
            print(f"--- the collector said:\n{log.read_text()}---", file=sys.stderr)
            raise
        finally:
            running.terminate()
            running.wait()
    hook = next(headers for path, headers, _ in taken if path == "/hook")
    print(check(spans(taken), log_traces(taken), hook["traceparent"]))


main(*sys.argv[1:])
