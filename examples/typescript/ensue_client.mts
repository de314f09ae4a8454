// Ensue from TypeScript, with nothing but what Node has.
//
// A consumer is a member of a group. It takes events, calls a function for each, and commits in one call what
// follows from them: their effects, the state of their keys, and that they are done. If this program dies before
// the commit, nothing happened; if it dies after it, everything did, once.
//
//     const consumer = new Consumer("http://127.0.0.1:3678", "billing", ["orders"], bill, { state: ["total"] });
//     process.once("SIGTERM", () => consumer.stop());
//     await consumer.run();
//
// A server with TLS and tokens is `https://…` with the option `token`; an authority that the system does not trust
// is named by the environment variable NODE_EXTRA_CA_CERTS.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

/** An event: the attributes of CloudEvents, those that Ensue adds, and extensions. */
export interface CloudEvent {
  id: string;
  source: string;
  type: string;
  topic: string;
  subject?: string;
  data?: unknown;
  [attribute: string]: unknown;
}

/** An event that follows from another: its id and its source are filled in. */
export type Following = Partial<CloudEvent> & { type: string };

/** The state of an event's key, by the names of its cells. */
export type State = Record<string, any>;

/** What follows from an event, in the order in which it is said. */
export class Effects {
  readonly effects: object[] = [];
  readonly state: State = {};

  /** Publishes an event; later with `after` ("1h") or `at` ("2030-…"), and `timer` to move or cancel it by. */
  publish(event: Following & { topic: string }, when: { after?: string; at?: string; timer?: string } = {}): this {
    this.effects.push({ event, ...when });
    return this;
  }

  /** Answers the request at hand. */
  reply(event: Following): this {
    this.effects.push({ reply: event });
    return this;
  }

  /** Cancels a timer of this group. */
  cancel(name: string): this {
    this.effects.push({ cancel: name });
    return this;
  }

  /** Sets a cell of the state of the event's key; `null` removes it. */
  set(name: string, value: unknown): this {
    this.state[name] = value;
    return this;
  }
}

/** The server refused a request: `code` is stable, the message is for people. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly document: Record<string, any>;

  constructor(status: number, document: Record<string, any>) {
    super(document.detail ?? "no detail");
    this.status = status;
    this.code = document.code ?? "unknown";
    this.document = document;
  }
}

/** The server did not answer: whether it did what was asked is not known. */
export class NoAnswer extends Error {}

/** Thrown by a handler when trying again cannot help: the event is a dead letter at once, and the requester of a
 * request is told why. */
export class Reject extends Error {}

/** Requests to a server. */
export class Client {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  /** `url` is `http://…` or `https://…`, `token` says who calls. */
  constructor(url: string, options: { token?: string } = {}) {
    const { protocol, origin } = new URL(url);
    if (protocol !== "http:" && protocol !== "https:") {
      throw new TypeError(`\`${url}\` is no server; expected http://HOST:PORT or https://HOST:PORT`);
    }
    this.#url = origin;
    this.#headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  }

  /** Sends a request once; its answer as JSON. Throws Problem, and NoAnswer when there is none. */
  async call(method: string, path: string, body?: unknown, type = "application/json"): Promise<any> {
    let status: number, text: string;
    try {
      const answer = await fetch(this.#url + path, {
        method,
        headers: body === undefined ? this.#headers : { ...this.#headers, "content-type": type },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(90_000),
      });
      [status, text] = [answer.status, await answer.text()];
    } catch (error) {
      const { message, cause } = error as Error & { cause?: Error };
      throw new NoAnswer(`no answer from ${this.#url}: ${cause?.message ?? message}`);
    }
    const document = text === "" ? {} : JSON.parse(text);
    if (status >= 300) throw new Problem(status, document);
    return document;
  }

  /** Appends an event; durable when it resolves. Safe to repeat. */
  publish(event: CloudEvent): Promise<{ position: string; duplicate: boolean }> {
    return this.call("POST", "/v1/events", { specversion: "1.0", ...event }, "application/cloudevents+json");
  }

  /** Asks a question of a service; the reply. */
  request(event: CloudEvent, deadline = "30s"): Promise<CloudEvent> {
    const path = `/v1/requests?${new URLSearchParams({ deadline })}`;
    return this.call("POST", path, { specversion: "1.0", ...event }, "application/cloudevents+json");
  }
}

export type Handler = (event: CloudEvent, state: State) => Effects | undefined | Promise<Effects | undefined>;

export interface ConsumerOptions {
  token?: string;
  types?: string[];
  start?: string;
  /** The cells of state that the handler is given. */
  state?: string[];
  lease?: string;
  /** How often an event is tried before it is a dead letter. */
  attempts?: number;
  /** How long to wait between attempts, doubling, in milliseconds. */
  backoff?: [shortest: number, longest: number];
  batch?: number;
  wait?: string;
}

interface Delivery {
  position: string;
  generation: number;
  attempt: number;
  event: CloudEvent;
  state?: State;
}

type Outcome = ["settle" | "retry" | "dead", Record<string, unknown>];

/** A member of a group. What its handler throws is an attempt that failed, Reject one that was the last. */
export class Consumer {
  readonly group: string;
  readonly topics: string[];
  readonly #handler: Handler;
  readonly #options: ConsumerOptions;
  readonly #client: Client;
  readonly #path: string;
  readonly #stopping = new AbortController();
  #member: string | undefined;
  #lease = 30_000;

  constructor(url: string, group: string, topics: string[], handler: Handler, options: ConsumerOptions = {}) {
    [this.group, this.topics, this.#handler, this.#options] = [group, topics, handler, options];
    this.#client = new Client(url, options);
    this.#path = `/v1/groups/${encodeURIComponent(group)}/members`;
  }

  /** Lets `run` resolve after what it is doing. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Consumes until it is stopped. */
  async run(): Promise<void> {
    const beating = this.#beat();
    try {
      while (!this.#stopping.signal.aborted) {
        try {
          await this.#consume();
        } catch (error) {
          if (error instanceof Problem && ["unknown_member", "fenced"].includes(error.code)) {
            this.#member = undefined;
          } else if (error instanceof NoAnswer || (error instanceof Problem && error.status >= 500)) {
            console.warn(error.message);
            await this.#pause(500);
          } else {
            throw error;
          }
        }
      }
    } finally {
      this.stop();
      await beating;
      await this.#leave();
    }
  }

  /** Joins, and takes, handles and commits one batch after the other. */
  async #consume(): Promise<void> {
    const { types, start = "earliest", lease = "30s", state = [], batch = 50, wait = "10s" } = this.#options;
    if (this.#member === undefined) {
      const joined = await this.#client.call("POST", this.#path, { topics: this.topics, types, start, lease });
      [this.#member, this.#lease] = [joined.member, joined.lease_ms];
      console.info(`joined the group \`${this.group}\` for ${this.topics.join(", ")}`);
    }
    const path = `${this.#path}/${this.#member}`;
    const query = new URLSearchParams({ max: `${batch}`, wait });
    for (const name of state) query.append("state", name);
    // After a take that got no answer, this begins with what it gave to the member.
    query.append("again", "true");
    while (!this.#stopping.signal.aborted) {
      const { deliveries } = (await this.#client.call("POST", `${path}/take?${query}`)) as { deliveries: Delivery[] };
      query.delete("again");
      if (deliveries.length === 0) continue;
      const commit: Record<string, unknown> & Record<Outcome[0], object[]> = { id: randomUUID(), settle: [], retry: [], dead: [] };
      for (const delivery of deliveries) {
        const [outcome, said] = await this.#handle(delivery);
        commit[outcome].push({ position: delivery.position, generation: delivery.generation, ...said });
      }
      await this.#commit(`${path}/commit`, commit);
    }
  }

  async #commit(path: string, commit: object): Promise<void> {
    for (;;) {
      try {
        return await this.#client.call("POST", path, commit);
      } catch (error) {
        if (error instanceof Problem && error.status < 500) throw error;
        // Whether it happened is not known. The same id again does it once.
        console.warn((error as Error).message);
        await sleep(200);
      }
    }
  }

  async #handle({ attempt, event, state }: Delivery): Promise<Outcome> {
    const { attempts = 5, backoff: [shortest, longest] = [200, 30_000] } = this.#options;
    if (attempt > attempts) return this.#dead(event, "crashed", "each attempt ended the consumer");
    try {
      const { effects, state: changed } = (await this.#handler(event, state ?? {})) ?? new Effects();
      return ["settle", { effects, state: changed }];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (error instanceof Reject) return this.#dead(event, "rejected", reason);
      if (attempt >= attempts) return this.#dead(event, "exhausted", reason);
      console.warn(`attempt ${attempt} at \`${event.id}\` failed:`, error);
      const wait = Math.min(longest, shortest * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
      return ["retry", { after: `${Math.round(wait)}ms`, reason }];
    }
  }

  #dead(event: CloudEvent, cause: string, reason: string): Outcome {
    console.warn(`the event \`${event.id}\` of \`${event.source}\` becomes a dead letter of \`${this.group}\`: ${reason}`);
    return ["dead", { cause, reason }];
  }

  /** Keeps the lease while a handler takes its time. */
  async #beat(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#pause(this.#lease / 3);
      if (this.#member === undefined || this.#stopping.signal.aborted) continue;
      await this.#client.call("POST", `${this.#path}/${this.#member}/renew`).catch((error) => {
        console.info(`the lease was not renewed: ${error.message}`);
      });
    }
  }

  async #leave(): Promise<void> {
    if (this.#member === undefined) return;
    await this.#client.call("DELETE", `${this.#path}/${this.#member}`).catch((error) => {
      console.info(`did not leave: ${error.message}`);
    });
  }

  /** Waits, until it is stopped at the latest. */
  async #pause(millis: number): Promise<void> {
    await sleep(millis, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }
}
