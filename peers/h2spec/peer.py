"""h2spec, the conformance tests of HTTP/2 and HPACK, in the strict form: without TLS by prior knowledge, and with TLS.

h2spec sends the beginning of a request and then what is wrong with it. The server may answer first, as it needs
nothing more to know the answer; then h2spec gets the answer in place of the error. Such a test says nothing, and is
tried again until it says something."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ensue import PATIENCE_S, Server, tls_files

TLS = '[tls]\ncertificate = "server.crt"\nkey = "server.key"\n[auth]\ntokens = "tokens.json"\n'
# An answer has overtaken what a test sent if the last that it got is a part of one, or the end of its stream.
ANSWERS = ("DATA Frame (", "HEADERS Frame (", "RST_STREAM Frame (length:4")
TRIES = 100
# What fails, and why that is right. Whatever else fails is a fault, and so is what does not fail any more.
EXPLAINED = {
    # Without TLS the same port speaks HTTP/1.1, and this is a bad request in that: it is answered, and the connection
    # is closed.
    False: {"http2/3.5/2": "an HTTP/1.1 header"},
    True: {},
}


def failures(port, is_tls, tests=()):
    """How many tests there are, and of those that failed what they got in place of what."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = ["h2spec", "--strict", "--host", "127.0.0.1", "--port", str(port), "--path", "/livez"]
        command += ["--junit-report", str(report), *(["--tls", "--insecure"] if is_tls else []), *tests]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=10 * PATIENCE_S)
        count, failed = 0, {}
        for suite in ElementTree.parse(report).iter("testsuite"):
            for number, case in enumerate(suite.iter("testcase"), 1):
                count += 1
                fault = case.find("error") if case.find("error") is not None else case.find("failure")
                if fault is not None:
                    failed[f"{case.get('package')}/{number}"] = f"{case.get('classname')}:\n{fault.text}"
        return count, failed


def says_nothing(got):
    return got.splitlines()[-1].startswith(ANSWERS)


def conforms(port, is_tls):
    count, failed = failures(port, is_tls)
    for name, got in list(failed.items()):
        tries = TRIES
        while says_nothing(got) and tries > 0:
            tries -= 1
            # Of one test alone the report has all others of its section, as tests that were not run.
            got = "\n".join(failures(port, is_tls, [name])[1].values())
            if not got:
                del failed[name]
                break
            failed[name] = got
    explained = EXPLAINED[is_tls]
    unexplained = {name: got for name, got in failed.items() if explained.get(name, "nothing") not in got}
    if unexplained:
        raise SystemExit("\n".join(f"{name}: {got}" for name, got in unexplained.items()))
    if missing := explained.keys() - failed.keys():
        raise SystemExit(f"does not fail any more: {missing}")
    return count, len(failed)


def main(program):
    said = []
    for is_tls in (False, True):
        server = Server(program, TLS if is_tls else "")
        if is_tls:
            tls_files(server)
        with server:
            count, failed = conforms(server.port, is_tls)
            said.append(f"{count} tests {'with' if is_tls else 'without'} TLS, of which {failed} fail as explained")
    print("; ".join(said))


main(sys.argv[1])
