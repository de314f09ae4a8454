"""The examples of docs/http-api.md in TypeScript: checked by its compiler, run by Node, and compared with what the page says
that they print. Those in the other languages are tests of the command."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ensue import Receiver, Server

PAGE = Path(__file__).parents[2] / "docs/http-api.md"
SECRET = {"SHOP_WEBHOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
OPTIONS = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.asynciterable"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def is_as(expected, text):
    """Whether a text is as the page says, where `…` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), text, re.DOTALL)


def main(ensue):
    program = "\n".join(blocks("typescript"))
    modules = Path(os.environ["NODE_PATH"])
    with tempfile.TemporaryDirectory(dir=modules.parent) as directory:
        source = Path(directory, "page.mts")
        source.write_text(program)
        compiler = [str(modules / ".bin/tsc"), *OPTIONS, "--types", "node", "--typeRoots", str(modules / "@types")]
        compiled = subprocess.run([*compiler, str(source)], stdout=subprocess.PIPE, text=True)
        if compiled.returncode != 0:
            raise SystemExit(compiled.stdout)
        config = "".join(blocks("toml")).replace("http://127.0.0.1:9000", Receiver().url)
        with Server(ensue, config, SECRET) as server:
            environment = {**os.environ, **SECRET, "ENSUE": server.url}
            ran = subprocess.run(
                ["node", str(source.with_suffix(".mjs"))], env=environment, stdout=subprocess.PIPE, text=True, timeout=120
            )
        if ran.returncode != 0:
            raise SystemExit(ran.stdout)
    said, expected = ran.stdout.splitlines(), re.findall(r"// → (.*)", program)
    assert len(said) == len(expected) > 15, (said, expected)
    for line, wanted in zip(said, expected):
        assert is_as(wanted, line), f"{line}\nthe page has\n{wanted}"
    print(f"TypeScript: {len(expected)} lines as the page says")


main(sys.argv[1])
