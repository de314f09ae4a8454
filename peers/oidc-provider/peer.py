"""A person logs in at an OpenID provider: oidc-provider-mock, with a browser of few lines between it and the server."""

import http.client
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from ensue import PATIENCE_S, Server, until

# What browsers take the server for: it is in no redirect that is followed here.
URL = "https://ensue.example"
CONFIG = """
[auth]
tokens = "tokens.json"
[auth.login]
issuer = "{issuer}"
client_id = "ensue"
client_secret = "secret"
url = "https://ensue.example"
[roles.reader]
read = ["orders.>"]
"""


class Browser:
    """It keeps cookies, and follows nothing by itself."""

    def __init__(self, address):
        self._address = address
        self._cookies = {}

    def get(self, path, headers=None):
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_S)
        pairs = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        connection.request("GET", path, headers={"cookie": pairs, **(headers or {})} if pairs else headers or {})
        answer = connection.getresponse()
        body = answer.read().decode()
        for line in answer.headers.get_all("set-cookie", []):
            name, _, value = line.split(";", 1)[0].partition("=")
            self._cookies[name.strip()] = value
        return answer.status, answer.headers, body

    def come_back(self, path):
        """As from a page of the provider."""
        return self.get(path, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def log_in_at(location):
    """Where the provider sends the browser that came to `location` and said who it is."""
    request = urllib.request.Request(location, b"sub=erika")
    try:
        urllib.request.build_opener(NoRedirects).open(request, timeout=PATIENCE_S)
    except urllib.error.HTTPError as redirect:
        assert redirect.code in (302, 303), redirect
        return redirect.headers["location"]
    raise SystemExit("the provider does not send the browser back")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def log_in(server, issuer):
    browser = Browser(server.address)
    status, headers, body = browser.get("/v1/login")
    assert status == 302, body
    location = headers["location"]
    assert location.startswith(issuer), location
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code_challenge_method"] == ["S256"], location
    back = log_in_at(location)
    assert back.startswith(URL), back
    back = back.removeprefix(URL)
    status, _, body = browser.come_back(back)
    assert status == 200, body
    _, _, body = browser.get("/v1/session")
    session = json.loads(body)
    assert (session["caller"], session["read"]) == ("login:erika", ["orders.>"]), session
    assert browser.get("/v1/events?topic=orders.eu")[0] == 200
    assert browser.get("/v1/events?topic=photos")[0] == 403
    # The code was good for one login, in one browser.
    status, _, body = Browser(server.address).come_back(back)
    assert (status, json.loads(body)["code"]) == (400, "login_failed"), body


def main(program):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = [Path(sys.executable).with_name("oidc-provider-mock"), "--port", str(port)]
    issuer = f"http://localhost:{port}"
    with subprocess.Popen(provider, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            until(lambda: listens(port))
            claims = json.dumps({"email": "erika@example.org", "roles": ["reader"]}).encode()
            headers = {"content-type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(f"{issuer}/users/erika", claims, headers, method="PUT"))
            server = Server(program, CONFIG.format(issuer=issuer))
            server.write("secret", "secret")
            with server:
                log_in(server, issuer)
        finally:
            running.terminate()
    print("a person logged in, once, with the roles of their claims")


main(sys.argv[1])
