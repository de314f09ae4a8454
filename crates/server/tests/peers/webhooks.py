"""Verifies deliveries with the official library, and signs one: see webhooks.sh."""

import datetime
import json
import sys

from standardwebhooks import Webhook

webhook = Webhook(sys.argv[1])
verified = 0
for line in sys.stdin:
    delivery = json.loads(line)
    event = webhook.verify(delivery["body"], delivery["headers"])
    assert event["specversion"] == "1.0"
    verified += 1
now = datetime.datetime.now(datetime.timezone.utc)
body = json.dumps({"data": {"account": "grün", "price": 1.1}}, ensure_ascii=False)
headers = {
    "webhook-id": "python-1",
    "webhook-timestamp": str(int(now.timestamp())),
    "webhook-signature": webhook.sign("python-1", now, body),
}
print(json.dumps({"verified": verified, "headers": headers, "body": body}))
