"""The examples of a page, as they stand there. Commands of a block `console` have to print what follows them, however it
is spaced, and anything for `…`; programs are the blocks whose first line names their file. What they say of the address and of what is
installed is made true: a server of their own, and the environment that `run` has prepared."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from ensue import PATIENCE_S, Server, until

ADDRESS = "localhost:3678"
# What the page says for people, and `run` or this program has done.
DONE = re.compile(r"(ensue serve|pip install|npm install|go install)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(block):
    """Each command of a block, and the lines that it has to print."""
    found = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    for text in found:
        lines = text.rstrip("\n").split("\n")
        quotes = lambda lines: "\n".join(lines).count("'") % 2 == 1 or lines[-1].endswith("\\")
        count = next((n for n in range(1, len(lines) + 1) if not quotes(lines[:n])), len(lines))
        yield "\n".join(lines[:count]), lines[count:]


def is_like(said, expected):
    """Whether the parts of what is expected are in what was said, in order."""
    said, at = re.sub(r"\s", "", said), 0
    for part in re.sub(r"\s", "", expected).split("…"):
        at = said.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


class Page:
    def __init__(self, text, address, installed, work):
        self.blocks = [(language, block.replace(ADDRESS, address)) for language, block in BLOCK.findall(text)]
        self.work = Path(work)
        path = os.pathsep.join([f"{installed}/python/bin", f"{installed}/bin", f"{installed}/node_modules/.bin"])
        self.environment = {**os.environ, "PATH": path + os.pathsep + os.environ["PATH"], "PYTHONPATH": str(work)}
        self.commands = 0

    def prepare(self, root, installed):
        """The files that the page names are found where the commands run."""
        (self.work / "crates").symlink_to(root / "crates")
        (self.work / "node_modules").symlink_to(Path(installed) / "node_modules")
        for language, block in self.blocks:
            if named := re.match(r"(?:#|//) (\S+\.(?:py|ts))\n", block):
                (self.work / named[1]).write_text(block)

    def run_commands(self):
        for language, block in self.blocks:
            for command, expected in commands(block) if language == "console" else ():
                if DONE.match(command):
                    continue
                said = self.run(["bash", "-c", command])
                if not is_like(said, "".join(expected)):
                    raise SystemExit(f"$ {command}\n{said}\nexpected: {expected}")
                self.commands += 1

    def run(self, command):
        ran = subprocess.run(command, cwd=self.work, env=self.environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S)
        if ran.returncode != 0:
            raise SystemExit(f"{command}:\n{ran.stdout}")
        return ran.stdout

    @contextmanager
    def running(self, command):
        """A program that does not end by itself, and what it has printed so far."""
        said = self.work / (command[-1] + ".said")
        with open(said, "wb") as output:
            process = subprocess.Popen(command, cwd=self.work, env=self.environment, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield said.read_text
            if process.poll() is not None:
                raise SystemExit(f"{command} has ended:\n{said.read_text()}")
        finally:
            # `npx` has children.
            os.killpg(process.pid, 9)
            process.wait()


def expect(is_so, what):
    if not is_so:
        raise SystemExit(what)


def main(program, page, installed, work):
    with Server(program) as server:
        examples = Page(Path(page).read_text(), server.address, installed, work)
        examples.prepare(Path(page).resolve().parent.parent, installed)
        examples.run_commands()
        said = examples.run(["python3", "publish.py"])
        expect(said.split("\n")[:2] == ["[False, False, False]"] * 2, said)
        with examples.running(["npx", "tsx", "follow.ts"]) as seen, examples.running(["python3", "invoices.py"]):
            # One by grpcurl and three by Python.
            until(lambda: seen().count('{"price": 1.10}') == 4)
        said = examples.run(["npx", "tsx", "ask.ts"])
        expect(said.startswith("DEADLINE_EXCEEDED"), said)
        events = server.request("/v1/events?topic=invoices")
        expect(events.count('"type":"invoice.sent"') == 4, events)
    print(f"{examples.commands} commands of grpcurl and protoc, 2 programs in Python, 2 in TypeScript")


main(*sys.argv[1:])
