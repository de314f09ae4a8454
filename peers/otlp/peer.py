"""What the server sends by OTLP, read with the official classes of the protocol: one trace goes from a request through
a consumer to its webhook."""

import sys

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ensue import Receiver
from telemetry import SPANS, TRACE, Traced, check


def spans(taken):
    found = {}
    for body in (body for path, _, body in taken if path == "/v1/traces"):
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for span in (span for of_scope in of_resource.scope_spans for span in of_scope.spans):
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                found[span.name] = (*ids, span.kind, span.start_time_unix_nano, span.end_time_unix_nano)
    return found


def log_traces(taken):
    found = []
    for body in (body for path, _, body in taken if path == "/v1/logs"):
        for of_resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            found += [record.trace_id.hex() for of_scope in of_resource.scope_logs for record in of_scope.log_records]
    return found


def main(program):
    receiver = Receiver(lambda path, headers, body: 204 if path == "/hook" else 200)
    is_whole = lambda taken: SPANS.keys() <= spans(taken).keys() and TRACE in log_traces(taken)
    with Traced(program, receiver.url, receiver.url):
        taken = receiver.until(is_whole)
    hook = next(headers for path, headers, _ in taken if path == "/hook")
    print(check(spans(taken), log_traces(taken), hook["traceparent"]))


main(sys.argv[1])
