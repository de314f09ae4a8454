"""The official SDKs of CloudEvents in both directions. Each has a program, which makes the events of `events.json` with
its SDK, sends them in every mode that there is, and compares them with what the SDK decodes: of what is read back as a
batch and as a stream of structured events, and of what a webhook brings in the structured and in the binary mode.

A program prints the address where it takes webhooks, and gets that of the server on its standard input."""

import subprocess
import sys
import tempfile

from ensue import PATIENCE_S, Server

CONFIG = """
[webhooks]
allow = ["127.0.0.1"]
""" + "".join(f"""
[[webhooks.endpoint]]
name = "{content}"
url = "URL/{content}"
topics = ["sdk.>"]
secrets = {{ file = "secrets" }}
content = "{content}"
""" for content in ("structured", "binary"))


def both_ways(ensue, command):
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
    ) as program:
        try:
            receiver = program.stdout.readline().strip()
            server = Server(ensue, CONFIG.replace("URL", receiver))
            server.write("secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
            with server:
                summary, _ = program.communicate(server.url + "\n", timeout=5 * PATIENCE_S)
                if program.returncode != 0 or not summary:
                    said.seek(0)
                    raise SystemExit(f"{' '.join(command)}:\n{summary}{said.read()}")
            return summary.strip()
        finally:
            program.kill()


def main(ensue, *commands):
    print("; ".join(both_ways(ensue, command.split(" ")) for command in commands))


main(*sys.argv[1:])
