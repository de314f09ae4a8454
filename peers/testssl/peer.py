"""The server's TLS, scanned by testssl.sh: protocols, ciphers, certificate, headers and known vulnerabilities."""

import json
import subprocess
import sys

from ensue import PATIENCE_S, Server, tls_files

CONFIG = '[tls]\ncertificate = "server.crt"\nkey = "server.key"\n[auth]\ntokens = "tokens.json"\n'
FAULTS = ("WARN", "LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")
# What it finds, and why that is right.
EXPLAINED = {
    "engine_problem": "of the OpenSSL that it uses",
    "cipher_order": "clients choose among ciphers that are all strong, as Mozilla recommends",
    "cert_revocation": "the certificate is made for this scan",
    "DNS_CAArecord": "so is its name",
    "HSTS": "it would bind every other service of the host's name; it is for who owns the name to say",
}


def main(program, scanner):
    server = Server(program, CONFIG)
    tls_files(server)
    with server:
        report = server.directory / "report.json"
        command = [scanner, "--quiet", "--color", "0", "--warnings", "batch", "--jsonfile", str(report)]
        command += ["--add-ca", str(server.directory / "ca.crt"), f"https://localhost:{server.port}/livez"]
        # Its exit status counts what it finds.
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=10 * PATIENCE_S)
        findings = json.loads(report.read_text())
    faults = [one for one in findings if one["severity"] in FAULTS]
    unexplained = [one for one in faults if one["id"].split(" ")[0] not in EXPLAINED]
    if unexplained or len(findings) < 50:
        raise SystemExit("\n".join(f"{one['severity']} {one['id']}: {one['finding']}" for one in unexplained or findings))
    print(f"{len(findings)} findings, of which {len(faults)} are faults to it, as explained")


main(*sys.argv[1:])
