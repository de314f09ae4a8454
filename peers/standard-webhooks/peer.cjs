// Verifies deliveries with the official library, and signs a body: see peer.py.
const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.argv[2]);
const lines = require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
for (const line of lines) {
  const delivery = JSON.parse(line);
  const event = webhook.verify(delivery.body, delivery.headers);
  if (event.specversion !== "1.0") throw new Error(line);
}
const now = new Date();
const body = JSON.stringify({ data: { account: "grün", price: 1.1 } });
const headers = {
  "webhook-id": "node-1",
  "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
  "webhook-signature": webhook.sign("node-1", now, body),
};
console.log(JSON.stringify({ verified: lines.length, headers, body }));
