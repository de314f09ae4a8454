// Adds up what each customer has ordered, and says so: a consumer with state and effects.
//
//     ensue serve &
//     npx tsx totals.mts http://127.0.0.1:3678     # Node 22.18 and later: node totals.mts
//
// For a server with TLS and tokens:
// `NODE_EXTRA_CA_CERTS=ca.crt ENSUE_TOKEN=… npx tsx totals.mts https://localhost:3678`.

import { type CloudEvent, Consumer, Effects, Reject, type State } from "./ensue_client.mts";

function addUp(event: CloudEvent, state: State): Effects {
  const { cents } = (event.data ?? {}) as { cents?: unknown };
  if (typeof cents !== "number") throw new Reject("an order has an amount in cents");
  const total = (state.total ?? 0) + cents;
  const customer = event.subject;
  const data = { customer, cents: total };
  const effects = new Effects().publish({ type: "total.changed", topic: "totals", subject: customer, data });
  if (event.replyto !== undefined) effects.reply({ type: "total.told", data: { cents: total } });
  return effects.set("total", total);
}

const [url = "http://127.0.0.1:3678", lease = "30s"] = process.argv.slice(2);
const options = { state: ["total"], lease, wait: "2s", token: process.env.ENSUE_TOKEN };
const consumer = new Consumer(url, "totals", ["orders"], addUp, options);
process.once("SIGTERM", () => consumer.stop());
process.once("SIGINT", () => consumer.stop());
await consumer.run();
