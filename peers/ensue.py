"""A server for the peers: `ensue serve` on a log of its own, as long as a `with` lasts. The standard library alone."""

import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

# Only what hangs takes so long, on any machine.
PATIENCE_S = 60.0


class Server:
    """`config` is the text of its settings; files that it names are found in `directory`, which may be filled before
    the `with`. `arguments` are those of `ensue serve`."""

    def __init__(self, program, config="", environment=None, arguments=()):
        self._made = tempfile.TemporaryDirectory(prefix="ensue-peer-")
        self.directory = Path(self._made.name)
        self._program = program
        self._config = config
        self._environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self._arguments = list(arguments)

    def __enter__(self):
        self.write("ensue.toml", self._config)
        command = [self._program, "--json", "--engine", f"embedded:{self.directory}/log", "serve"]
        command += ["--listen", "127.0.0.1:0", "--config", str(self.directory / "ensue.toml"), *self._arguments]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, stderr=log)
        line = self._process.stdout.readline()
        if not line:
            self._end()
            raise SystemExit(f"`ensue serve` does not start:\n{self.log()}")
        said = json.loads(line)
        self.pid = self._process.pid
        self.address = said["listening"]
        self.port = int(self.address.rsplit(":", 1)[1])
        self.url = f"{'https' if said['tls'] else 'http'}://{self.address}"
        return self

    def __exit__(self, kind, error, trace):
        self._end()
        if error is not None:
            print(f"--- the server said:\n{self.log()}---", file=sys.stderr)
        self._made.cleanup()

    def _end(self):
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._process.stdout.close()

    @property
    def _log(self):
        return self.directory / "server.log"

    def log(self):
        """What it wrote to stderr."""
        return self._log.read_text(errors="replace")

    def write(self, name, text):
        """A file that no one else may read, as secrets have to be."""
        path = self.directory / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def request(self, path, body=None, headers=None, method=None):
        """What it answers, as text; an answer that is no success is raised."""
        body = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.read().decode()


class Receiver:
    """An HTTP server that takes everything, keeps it, and answers 204, or what `answer(path, headers, body)` gives."""

    def __init__(self, answer=lambda path, headers, body: 204):
        taken, changed = [], threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with changed:
                    taken.append((self.path, headers, body))
                    changed.notify_all()
                self.send_response(answer(self.path, headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._taken, self._changed = taken, changed
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def until(self, is_enough):
        """What has been taken, once `is_enough` says so of it."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_enough(self._taken), timeout=PATIENCE_S):
                raise SystemExit(f"not within {PATIENCE_S} s; taken: {[path for path, *_ in self._taken]}")
            return list(self._taken)


def tls_files(server):
    """A certificate for `localhost` in the directory of a server, `server.crt` with `server.key`, and the authority
    that signed it, `ca.crt`; they last 90 days."""

    def openssl(*arguments):
        ran = subprocess.run(["openssl", *arguments], cwd=server.directory, stderr=subprocess.PIPE, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"openssl {arguments[0]}: {ran.stderr}")

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    of_authority = ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "90", "-subj", "/CN=peers-ca"]
    openssl("req", "-x509", *key, *of_authority, "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    extensions = ["basicConstraints=CA:false", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth",
                  "authorityKeyIdentifier=keyid", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    server.write("server.ext", "\n".join(extensions) + "\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "90",
            "-extfile", "server.ext", "-out", "server.crt")
    (server.directory / "server.key").chmod(0o600)


def until(condition):
    """What `condition` gives, as soon as that is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise SystemExit(f"not within {PATIENCE_S} s")
