"""The server's TLS, scanned by sslyze against what Mozilla recommends: the intermediate configuration."""

import subprocess
import sys
from pathlib import Path

from ensue import PATIENCE_S, Server, tls_files

CONFIG = '[tls]\ncertificate = "server.crt"\nkey = "server.key"\n[auth]\ntokens = "tokens.json"\n'


def main(program):
    server = Server(program, CONFIG)
    tls_files(server)
    with server:
        scanner = Path(sys.executable).with_name("sslyze")
        command = [scanner, "--mozilla_config=intermediate", f"--certinfo_ca_file={server.directory / 'ca.crt'}"]
        scanned = subprocess.run([*command, f"localhost:{server.port}"], stdout=subprocess.PIPE, text=True,
                                 timeout=5 * PATIENCE_S)
        if scanned.returncode != 0 or "OK - Compliant" not in scanned.stdout:
            raise SystemExit(scanned.stdout)
    print("compliant with Mozilla's intermediate configuration")


main(sys.argv[1])
