#!/bin/sh
# Scans the server's TLS with sslyze, against what Mozilla recommends. It installs it below target/; `cargo test` alone
# skips this test and says so.
set -eu
cd "$(dirname "$0")/../../../.."
peers="$PWD/target/tls-peers"
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
"$peers/bin/pip" install --quiet sslyze==6.3.1
ENSUE_SSLYZE="$peers/bin/sslyze" exec cargo test -p ensue-server --all-features --test http sslyze
