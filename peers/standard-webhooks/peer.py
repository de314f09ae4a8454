"""What goes out is verified by the official libraries of Standard Webhooks for Python and JavaScript, and what they
sign is taken in."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

from standardwebhooks import Webhook

from ensue import PATIENCE_S, Receiver, Server

DELIVERIES = 25
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg== until 2100-01-01T00:00:00Z"
# Its signature, of a kind that the libraries do not know, comes before theirs.
KEY_PAIR = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
CONFIG = """
[webhooks]
allow = ["127.0.0.1"]
[[webhooks.endpoint]]
name = "shop"
url = "{url}/hooks"
topics = ["orders"]
secrets = {{ file = "secrets" }}
[[webhooks.in]]
name = "peer"
topic = "peers"
type = "peer.said"
secrets = {{ file = "secrets" }}
"""


def in_python(deliveries):
    """How many deliveries verify, and a body with headers that sign it."""
    webhook = Webhook(SECRET)
    for delivery in deliveries:
        assert webhook.verify(delivery["body"], delivery["headers"])["specversion"] == "1.0"
    now = datetime.datetime.now(datetime.timezone.utc)
    body = json.dumps({"data": {"account": "grün", "price": 1.1}}, ensure_ascii=False)
    headers = {
        "webhook-id": "python-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign("python-1", now, body),
    }
    return {"verified": len(deliveries), "headers": headers, "body": body}


def in_javascript(deliveries):
    program = ["node", str(Path(__file__).with_name("peer.cjs")), SECRET]
    text = "\n".join(map(json.dumps, deliveries))
    ran = subprocess.run(program, input=text, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S)
    return json.loads(ran.stdout)


def both_ways(server, deliveries, peer):
    said = peer(deliveries)
    assert said["verified"] == DELIVERIES, said
    headers = {"content-type": "application/json", **said["headers"]}
    send = lambda body: server.request("/v1/webhooks/in/peer", body, headers)
    assert json.loads(send(said["body"]))["duplicate"] is False
    page = json.loads(server.request("/v1/events?topic=peers"))
    assert page["events"][-1]["id"] == said["headers"]["webhook-id"], page
    # Byte by byte, that is.
    assert said["body"] in server.request("/v1/events?topic=peers")
    try:
        send(said["body"].replace("1.1", "9.9"))
    except OSError as error:
        assert error.code == 401, error
    else:
        raise SystemExit("a body that was changed is taken in")


def main(program):
    receiver = Receiver()
    server = Server(program, CONFIG.format(url=receiver.url))
    server.write("secrets", f"{KEY_PAIR}\n{OLD}\n{SECRET}\n")
    with server:
        for number in range(DELIVERIES):
            event = {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "order.created",
                     "topic": "orders", "subject": f"ü {number}", "data": {"price": 1.1}}
            server.request("/v1/events", json.dumps(event), {"content-type": "application/cloudevents+json"})
        taken = receiver.until(lambda taken: len(taken) >= DELIVERIES)
        deliveries = [{"headers": headers, "body": body.decode()} for _, headers, body in taken]
        for peer in (in_python, in_javascript):
            both_ways(server, deliveries, peer)
    print(f"{DELIVERIES} deliveries verified and one taken in, by each of 2 libraries")


main(sys.argv[1])
