"""Adds up what each customer has ordered, and says so: a consumer with state and effects.

    ensue serve &
    python3 totals.py http://127.0.0.1:3678

For a server with TLS and tokens: `ENSUE_TOKEN=… python3 totals.py https://localhost:3678 30s ca.crt`.
"""

import logging
import os
import signal
import sys

from ensue_client import Consumer, Effects, Reject


def add_up(event, state):
    data = event.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("cents"), int):
        raise Reject("an order has an amount in cents")
    customer = event["subject"]
    total = state.get("total", 0) + data["cents"]
    changed = {
        "type": "total.changed",
        "topic": "totals",
        "subject": customer,
        "data": {"customer": customer, "cents": total},
    }
    effects = Effects().publish(changed).set("total", total)
    if "replyto" in event:
        effects.reply({"type": "total.told", "data": {"cents": total}})
    return effects


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3678"
    lease = sys.argv[2] if len(sys.argv) > 2 else "30s"
    ca_file = sys.argv[3] if len(sys.argv) > 3 else None
    consumer = Consumer(url, "totals", ["orders"], add_up, state=["total"], lease=lease, wait="2s",
                        token=os.environ.get("ENSUE_TOKEN"), ca_file=ca_file)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    signal.signal(signal.SIGINT, lambda *_: consumer.stop())
    consumer.run()
