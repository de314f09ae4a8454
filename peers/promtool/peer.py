"""Prometheus' own tool: the alerts are valid and do what their tests say, and metrics are named as they should be."""

import json
import subprocess
import sys

from ensue import PATIENCE_S, Server


def main(program, check):
    with Server(program) as server:
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "topic": "orders"}
        server.request("/v1/events", json.dumps(event), {"content-type": "application/cloudevents+json"})
        join = json.dumps({"topics": ["orders"]})
        server.request("/v1/groups/billing/members", join, {"content-type": "application/json"})
        checked = subprocess.run([check, server.url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 timeout=PATIENCE_S)
    if checked.returncode != 0:
        raise SystemExit(checked.stdout)
    print("metrics, alerts and their tests are in order")


main(*sys.argv[1:])
