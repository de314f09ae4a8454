"""Ensue from Python, with nothing but the standard library.

A consumer is a member of a group. It takes events, calls a function for each, and commits in one
call what follows from them: their effects, the state of their keys, and that they are done. If this
program dies before the commit, nothing happened; if it dies after it, everything did, once.

    from ensue_client import Consumer, Effects

    def bill(event, state):
        total = state.get("total", 0) + event["data"]["cents"]
        changed = {"type": "total.changed", "topic": "totals", "subject": event["subject"],
                   "data": {"cents": total}}
        return Effects().publish(changed).set("total", total)

    Consumer("http://127.0.0.1:3678", "billing", ["orders"], bill, state=["total"]).run()

A server with TLS and tokens is `https://…`, with `token=` and, where the system does not trust its
authority, `ca_file=`.
"""

import http.client
import json
import logging
import random
import ssl
import threading
import time
import urllib.parse
import uuid

log = logging.getLogger("ensue")


class Problem(Exception):
    """The server refused a request: `code` is stable, `detail` is for people."""

    def __init__(self, status, document):
        super().__init__(document.get("detail", "no detail"))
        self.status = status
        self.code = document.get("code", "unknown")
        self.document = document


class Reject(Exception):
    """Raised by a handler when trying again cannot help: the event is a dead letter at once, and the
    requester of a request is told why."""


class Effects:
    """What follows from an event, in the order in which it is said."""

    def __init__(self):
        self.effects = []
        self.state = {}

    def publish(self, event, **when):
        """Publishes an event: `type` and `topic`, and `subject`, `data` and others as they are needed.
        Its id derives from the event that it follows. For later: `after="1h"` or `at="2030-…"`, and
        `timer="name"` to move or cancel it by."""
        self.effects.append({"event": event, **when})
        return self

    def reply(self, event):
        """Answers the request at hand."""
        self.effects.append({"reply": event})
        return self

    def cancel(self, name):
        """Cancels a timer of this group."""
        self.effects.append({"cancel": name})
        return self

    def set(self, name, value):
        """Sets a cell of the state of the event's key; None removes it."""
        self.state[name] = value
        return self


class Client:
    """One connection to a server, which is opened again when it breaks. Not for several threads.

    `url` is `http://…` or `https://…`; `token` says who calls, and `ca_file` which authorities the server
    may be trusted by, in place of the system's."""

    def __init__(self, url, timeout=90, *, token=None, ca_file=None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`{url}` is no server; expected http://HOST:PORT or https://HOST:PORT")
        if ca_file is not None and parts.scheme != "https":
            raise ValueError(f"`ca_file` is for https, and `{url}` is not encrypted")
        self.host, self.port, self.timeout = parts.hostname, parts.port, timeout
        self.address = parts.netloc.rpartition("@")[2]
        self.encryption = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self.headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.connection = None

    def _connect(self):
        if self.encryption is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.encryption)

    def call(self, method, path, body=None, content_type="application/json"):
        """Sends a request once; its answer as JSON. Raises Problem, or OSError without an answer."""
        try:
            if self.connection is None:
                self.connection = self._connect()
            headers = self.headers if body is None else {**self.headers, "content-type": content_type}
            text = None if body is None else json.dumps(body)
            self.connection.request(method, path, text, headers)
            answer = self.connection.getresponse()
            status, text = answer.status, answer.read()
        except ssl.SSLCertVerificationError:
            # It will not be another one the next time.
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(f"no answer from {self.address}: {error}") from error
        document = json.loads(text) if text else {}
        if status >= 300:
            raise Problem(status, document)
        return document

    def publish(self, event):
        """Appends an event with `id`, `source`, `type` and `topic`; durable when it returns. Safe to
        repeat."""
        event = {"specversion": "1.0", **event}
        return self.call("POST", "/v1/events", event, "application/cloudevents+json")

    def request(self, event, deadline="30s"):
        """Asks a question of a service; the reply."""
        event = {"specversion": "1.0", **event}
        path = "/v1/requests?" + urllib.parse.urlencode({"deadline": deadline})
        return self.call("POST", path, event, "application/cloudevents+json")

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Consumer:
    """A member of a group. `handler(event, state)` returns Effects or None; whatever it raises is an
    attempt that failed, Reject one that was the last."""

    def __init__(self, url, group, topics, handler, *, types=None, start="earliest", state=(),
                 lease="30s", attempts=5, backoff=(0.2, 30.0), batch=50, wait="10s",
                 token=None, ca_file=None):
        self.client, self.heart = (Client(url, token=token, ca_file=ca_file) for _ in range(2))
        self.group = group
        self.path = f"/v1/groups/{urllib.parse.quote(group, safe='')}/members"
        self.wanted = {"topics": topics, "start": start, "lease": lease}
        if types is not None:
            self.wanted["types"] = types
        self.query = [("max", batch), ("wait", wait)] + [("state", name) for name in state]
        self.handler, self.attempts, self.backoff = handler, attempts, backoff
        self.member, self.lease = None, 30.0
        self.stopping = threading.Event()

    def stop(self):
        """Lets `run` return after what it is doing."""
        self.stopping.set()

    def run(self):
        """Consumes until it is stopped."""
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            while not self.stopping.is_set():
                try:
                    self._work()
                except Problem as problem:
                    if problem.code in ("unknown_member", "fenced"):
                        log.info("joining again: %s", problem)
                        self.member = None
                    elif problem.status >= 500:
                        log.warning("the server cannot serve now: %s", problem)
                        self.stopping.wait(0.5)
                    else:
                        raise
                except ConnectionError as error:
                    log.warning("%s", error)
                    self.stopping.wait(0.5)
        finally:
            self._leave()

    def _work(self):
        if self.member is None:
            joined = self.client.call("POST", self.path, self.wanted)
            self.member, self.lease = joined["member"], joined["lease_ms"] / 1000
            self.again = False
            log.info("joined the group `%s` for %s", self.group, ", ".join(self.wanted["topics"]))
        path = f"{self.path}/{self.member}"
        query = self.query + ([("again", "true")] if self.again else [])
        # Until the answer is here, deliveries may be on their way that are lost with it.
        self.again = True
        taken = self.client.call("POST", f"{path}/take?" + urllib.parse.urlencode(query))
        self.again = False
        commit = {"id": str(uuid.uuid4()), "settle": [], "retry": [], "dead": []}
        for delivery in taken["deliveries"]:
            outcome, said = self._handle(delivery)
            if outcome == "dead":
                event = delivery["event"]
                log.warning("the event `%s` of `%s` becomes a dead letter of the group `%s`: %s",
                            event["id"], event["source"], self.group, said["reason"])
            commit[outcome].append({"position": delivery["position"],
                                    "generation": delivery["generation"], **said})
        if taken["deliveries"]:
            self._commit(f"{path}/commit", commit)

    def _commit(self, path, commit):
        while True:
            try:
                return self.client.call("POST", path, commit)
            except ConnectionError as error:
                # Whether it happened is not known. The same id again does it once.
                log.warning("%s", error)
            except Problem as problem:
                if problem.status < 500:
                    raise
                log.warning("not committed yet: %s", problem)
            time.sleep(0.2)

    def _handle(self, delivery):
        attempt = delivery["attempt"]
        if attempt > self.attempts:
            return "dead", {"cause": "crashed", "reason": "each attempt ended the consumer"}
        try:
            effects = self.handler(delivery["event"], delivery.get("state", {})) or Effects()
            return "settle", {"effects": effects.effects, "state": effects.state}
        except Reject as reason:
            return "dead", {"cause": "rejected", "reason": str(reason)}
        except Exception as error:
            log.exception("attempt %d failed", attempt)
            reason = f"{type(error).__name__}: {error}"
            if attempt >= self.attempts:
                return "dead", {"cause": "exhausted", "reason": reason}
            shortest, longest = self.backoff
            wait = min(longest, shortest * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
            return "retry", {"after": f"{int(wait * 1000)}ms", "reason": reason}

    def _beat(self):
        """Keeps the lease while a handler takes its time."""
        while not self.stopping.wait(self.lease / 3):
            member = self.member
            if member is None:
                continue
            try:
                self.heart.call("POST", f"{self.path}/{member}/renew")
            except (Problem, ConnectionError) as error:
                log.info("the lease was not renewed: %s", error)

    def _leave(self):
        if self.member is not None:
            try:
                self.client.call("DELETE", f"{self.path}/{self.member}")
            except (Problem, ConnectionError) as error:
                log.info("did not leave: %s", error)
        self.client.close()
