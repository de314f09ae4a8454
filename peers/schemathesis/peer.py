"""The server against schemathesis, which makes requests of the document of OpenAPI that the server publishes, good ones and bad
ones, and looks whether the answers are as the document says. `schemathesis.toml` says what is left out, and why."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

from ensue import Receiver, Server

HERE = Path(__file__).parent
# What the server waits for must not fill the time.
CONFIG = """
[limits]
wait_max = "1s"
heartbeat = "1s"

[webhooks]
allow = ["127.0.0.1"]

[[webhooks.endpoint]]
name = "shop"
url = "RECEIVER"
topics = ["orders"]
secrets = { env = "SHOP_WEBHOOK" }
"""
SECRET = {"SHOP_WEBHOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
# How many requests are made of an operation in a phase, and where they come from.
EXAMPLES, SEED = 25, 7


def command(server, seed, examples):
    program = Path(sys.executable).with_name("schemathesis")
    return [
        str(program), "--config-file", str(HERE / "schemathesis.toml"), "run", server.url + "/v1/openapi.json",
        "--seed", str(seed), "--max-examples", str(examples), "--generation-database", "none",
        "--continue-on-failure", "--no-color", "--warnings", "off",
    ]


def main(ensue):
    seconds = os.environ.get("LONG")
    seed = random.randrange(2**32) if seconds else SEED
    with Server(ensue, CONFIG.replace("RECEIVER", Receiver().url), SECRET) as server:
        arguments = command(server, seed, EXAMPLES)
        if seconds:
            arguments += ["--max-time", seconds]
        ran = subprocess.run(arguments, cwd=server.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"{ran.stdout}\nseed {seed}")
        # After all of that it works, and nothing in it has panicked.
        server.request("/readyz")
        assert "panicked" not in server.log(), "a handler panicked"
    [count] = re.findall(r"\d+ generated, \d+ passed", ran.stdout)
    print(f"requests of every operation: {count} (seed {seed})")


main(sys.argv[1])
