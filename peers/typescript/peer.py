"""The consumer of examples/typescript: checked by the compiler, and run by tsx against a server with TLS and tokens, while it
is killed, and while its events are bad."""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from ensue import PATIENCE_S, Server, tls_files, until

EXAMPLE = Path(__file__).parents[2] / "examples/typescript"
STRICT = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext", "--lib", "es2022",
          "--rewriteRelativeImportExtensions", "--erasableSyntaxOnly", "--types", "node"]
CONFIG = """
[tls]
certificate = "server.crt"
key = "server.key"
[auth]
tokens = "tokens.json"
[roles.owner]
publish = [">"]
read = [">"]
consume = [">"]
"""
CUSTOMERS, ORDERS = 7, 300


def compile_strictly(installed, work):
    compiler = [installed / "node_modules/.bin/tsc", *STRICT, "--typeRoots", installed / "node_modules/@types"]
    compiled = subprocess.run([*compiler, "--outDir", work, "totals.mts"], cwd=EXAMPLE, stdout=subprocess.PIPE, text=True)
    if compiled.returncode != 0:
        raise SystemExit(compiled.stdout)


class Shop:
    """Requests to the server, which trust its authority and show its token."""

    def __init__(self, server, token):
        self._url = f"https://localhost:{server.port}"
        self._context = ssl.create_default_context(cafile=server.directory / "ca.crt")
        self._token = token

    def ask(self, path, body=None):
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/cloudevents-batch+json"}
        if isinstance(body, dict):
            headers["content-type"] = "application/cloudevents+json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S, context=self._context) as answer:
            return json.load(answer)

    def totals(self):
        events = self.ask("/v1/events?topic=totals&limit=10000")["events"]
        return len(events), {event["subject"]: event["data"]["cents"] for event in events}


def order(number, data):
    return {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "order.created", "topic": "orders",
            "subject": f"c-{number % CUSTOMERS}", "data": data}


def consume(server, token, installed):
    command = ["node", "--import", str(installed / "node_modules/tsx/dist/esm/index.mjs"), "totals.mts",
               f"https://localhost:{server.port}", "2s"]
    environment = {**os.environ, "ENSUE_TOKEN": token, "NODE_EXTRA_CA_CERTS": str(server.directory / "ca.crt")}
    return subprocess.Popen(command, cwd=EXAMPLE, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def main(program, installed, work):
    installed, work = Path(installed), Path(work)
    compile_strictly(installed, work)
    server = Server(program, CONFIG)
    tls_files(server)
    server.write("ensue.toml", CONFIG)
    made = [program, "token", "create", "shop", "--role", "owner", "--config", str(server.directory / "ensue.toml")]
    token = subprocess.run(made, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    with server:
        shop = Shop(server, token)
        shop.ask("/v1/events", [order(number, {"cents": number}) for number in range(ORDERS)])
        first = consume(server, token, installed)
        until(lambda: shop.totals()[0] > 0)
        # What it has not committed is the next one's.
        first.kill()
        first.communicate()
        second = consume(server, token, installed)
        try:
            expected = {f"c-{it}": sum(range(it, ORDERS, CUSTOMERS)) for it in range(CUSTOMERS)}
            until(lambda: shop.totals()[0] >= ORDERS)
            assert shop.totals() == (ORDERS, expected), shop.totals()
            # A bad event becomes a dead letter and stops nothing but its key.
            shop.ask("/v1/events", order(ORDERS, {"price": 1}))
            told = shop.ask("/v1/requests?deadline=60s", order(ORDERS + 1, {"cents": 1}))
            assert told["data"]["cents"] == expected[f"c-{(ORDERS + 1) % CUSTOMERS}"] + 1, told
            second.terminate()
            _, said = second.communicate(timeout=PATIENCE_S)
        finally:
            second.kill()
        assert second.returncode == 0, said
        assert "dead letter" in said and "an amount in cents" in said, said
    print(f"{ORDERS} orders added up once by a consumer that was killed; a dead letter and a reply")


main(*sys.argv[1:])
