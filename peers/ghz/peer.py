"""Load by ghz: every call is answered, and what was answered is in the log. The figures are for people."""

import base64
import json
import subprocess
import sys

from ensue import PATIENCE_S, Server

CALLS = 5_000
EVENT = {"topic": "load", "key": "k-{{.RequestNumber}}", "id": "{{.UUID}}", "source": "/ghz", "type": "load.made",
         "contentType": "application/json", "payload": base64.b64encode(b'{"of": 17}').decode()}


def load(server, at_once):
    command = ["ghz", "--insecure", "--call", "ensue.v1.EngineService.Append", "--total", str(CALLS),
               "--concurrency", str(at_once), "--connections", str(min(at_once, 16)),
               "--data", json.dumps({"batch": [{"event": EVENT}]}), "--format", "json", server.address]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=10 * PATIENCE_S)
    if ran.returncode != 0:
        raise SystemExit(ran.stdout)
    report = json.loads(ran.stdout)
    if report["statusCodeDistribution"] != {"OK": CALLS}:
        raise SystemExit(json.dumps(report, indent=1)[:4000])
    late = next(it["latency"] for it in report["latencyDistribution"] if it["percentage"] == 99)
    return f"{at_once} at a time {report['rps']:,.0f}/s, p99 {late / 1e6:.1f} ms"


def main(program):
    with Server(program) as server:
        figures = [load(server, at_once) for at_once in (1, 16, 64)]
        status = json.loads(server.request("/v1/status"))["engine"]
        topics = {topic["name"]: topic for topic in status["topics"]}
        expected = 3 * CALLS
        if topics["load"]["events"] != expected:
            raise SystemExit(f"{topics['load']} in place of {expected} events")
    print("; ".join(figures))


main(sys.argv[1])
