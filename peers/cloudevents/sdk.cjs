// The SDK for JavaScript: see peer.py.
process.env.CE_USE_BIG_INT = "true";
const assert = require("node:assert");
const http = require("node:http");
const readline = require("node:readline");
const { inspect, isDeepStrictEqual } = require("node:util");
const { CloudEvent, HTTP, Mode, emitterFor } = require("cloudevents");

const PATIENCE_MS = 60_000;
// What Ensue adds to events that come without.
const ADDED = ["topic", "correlationid", "dataversion", "partitionkey", "ensueposition", "ensueappended"];
// What an event of this SDK has whether it is set or not.
const OWN = ["data", "data_base64", "datacontentencoding", "schemaurl"];

// Everything that an event can have, with ids of their own for each mode.
function events(mode) {
  const source = "/sdk/javascript";
  const numbers = '{"exact":123456789012345678901234567890,"below":9007199254740993,"part":1.1}';
  // The SDK writes attributes into headers as they are, and headers cannot have all of these.
  const beyond = mode === "binary" ? {} : { subject: "Zürich, 東京 “1” 100%", text: "žluťoučký kůň 🐎" };
  return [
    new CloudEvent({
      id: `${mode}-everything`, type: "sdk.everything", source: "https://example.com/a?a=b#c", subject: "o-17",
      dataschema: "https://example.com/schema.json", time: "2026-11-26T20:38:17.123+05:30",
      datacontenttype: "application/json", blank: "two words", whole: -2147483648, yes: true, reference: "../a/b",
      data: { name: "Žofie", nested: [1, null, { a: "b" }] }, ...beyond,
    }),
    // JSON of which JavaScript has no values is sent as it is; the SDK reads it.
    ...(mode === "binary"
      ? [new CloudEvent({ id: `${mode}-numbers`, type: "sdk.numbers", source, datacontenttype: "application/json", data: numbers })]
      : []),
    new CloudEvent({ id: `${mode}-text`, type: "sdk.text", source, datacontenttype: "text/plain", data: "žluťoučký\r\n" }),
    new CloudEvent({
      id: `${mode}-bytes`, type: "sdk.bytes", source, datacontenttype: "application/octet-stream",
      data: Uint8Array.from({ length: 256 }, (_, byte) => byte),
    }),
    new CloudEvent({ id: `${mode}-nothing`, type: "sdk.nothing", source }),
  ];
}

async function send(url, mode, events) {
  const transport = async ({ headers, body }) => {
    const answer = await fetch(`${url}/v1/events?topic=sdk.${mode}`, { method: "POST", headers, body });
    assert.ok(answer.ok, `${mode}: ${await answer.text()}`);
  };
  if (mode === "batch") {
    // The SDK reads batches and does not write them; this is what one is.
    const headers = { "content-type": "application/cloudevents-batch+json" };
    return transport({ headers, body: `[${events.map((event) => HTTP.structured(event).body).join(",")}]` });
  }
  const emit = emitterFor(transport, { mode: mode === "binary" ? Mode.BINARY : Mode.STRUCTURED });
  for (const event of events) await emit(event);
}

async function read(url, mode, accept) {
  const answer = await fetch(`${url}/v1/events?topic=sdk.${mode}`, { headers: { accept } });
  const body = await answer.text();
  if (accept === "application/x-ndjson") {
    const headers = { "content-type": "application/cloudevents+json" };
    return body.split("\n").filter(Boolean).map((line) => HTTP.toEvent({ headers, body: line }));
  }
  return HTTP.toEvent({ headers: { "content-type": answer.headers.get("content-type") }, body });
}

function attributes(event, isText, isEncoded) {
  const kept = Object.entries(event).filter(
    ([name, value]) => value !== undefined && !ADDED.includes(name) && !OWN.includes(name));
  const values = kept.map(([name, value]) => {
    if (name === "time") return [name, new Date(value).toISOString()];
    // The SDK leaves what is percent-encoded in headers as it is.
    return [name, isEncoded ? decodeURIComponent(value) : isText ? String(value) : value];
  });
  return Object.fromEntries(values);
}

function data(event) {
  if (event.data_base64) return Buffer.from(event.data_base64, "base64");
  // A body that is not there is empty to the SDK, and bytes are one a number.
  if (event.data === undefined || event.data === "" || event.data?.length === 0) return undefined;
  if (ArrayBuffer.isView(event.data)) return Buffer.from(event.data);
  return event.datacontenttype === "application/json" && typeof event.data === "string" ? JSON.parse(event.data) : event.data;
}

function compare(sent, got, mode, how) {
  // Attributes in headers are text, whatever they were before.
  const isText = [mode, how].includes("binary");
  // What Ensue says of events that come without.
  const implied = { dataschema: `urn:ensue:${sent.type}:1` };
  if (data(sent) !== undefined) implied.datacontenttype = "application/json";
  // What the SDK says in a header for its events that come without.
  if (mode === "binary") implied.datacontenttype = "application/json; charset=utf-8";
  same(attributes(got, isText, how === "binary"), { ...implied, ...attributes(sent, isText, false) }, `${mode}, ${how}, ${sent.id}`);
  same(data(got), data(sent), `${mode}, ${how}, ${sent.id}`);
}

function same(is, was, where) {
  // Whatever parser made the objects.
  if (!isDeepStrictEqual(structuredClone(is), structuredClone(was))) throw new Error(`${where}: ${inspect(is)} in place of ${inspect(was)}`);
}

const taken = new Map();
const receiver = http.createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  // As frameworks do: text where the content type says so.
  const isBytes = request.headers["content-type"] === "application/octet-stream";
  try {
    const event = HTTP.toEvent({ headers: request.headers, body: isBytes ? bytes : bytes.toString() });
    const how = request.url.slice(1);
    taken.get(`${how} ${event.id}`)?.resolve(event) ?? taken.set(`${how} ${event.id}`, { event });
    response.writeHead(204).end();
  } catch (error) {
    console.error(error, request.headers, bytes.toString());
    response.writeHead(400).end();
  }
});

function delivery(how, id) {
  const found = taken.get(`${how} ${id}`);
  if (found?.event) return found.event;
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no ${how} delivery of ${id}`)), PATIENCE_MS).unref();
    taken.set(`${how} ${id}`, { resolve });
  });
}

async function main(url) {
  let compared = 0;
  for (const mode of ["structured", "binary", "batch"]) {
    const sent = events(mode);
    await send(url, mode, sent);
    for (const how of ["application/cloudevents-batch+json", "application/x-ndjson"]) {
      const got = await read(url, mode, how);
      assert.equal(got.length, sent.length);
      sent.forEach((event, at) => compare(event, got[at], mode, how));
      compared += sent.length;
    }
    for (const how of ["structured", "binary"]) {
      for (const event of sent) {
        compare(event, await delivery(how, event.id), mode, how);
        compared += 1;
      }
    }
  }
  console.log(`JavaScript: ${compared} events the same`);
  process.exit(0);
}

process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
receiver.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${receiver.address().port}`);
  readline.createInterface({ input: process.stdin }).once("line", main);
});
