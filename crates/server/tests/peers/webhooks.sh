#!/bin/sh
# Verifies what goes out with the official libraries of Standard Webhooks for Python and JavaScript, and takes in
# what they sign. It installs them below target/; `cargo test` alone skips these two tests and says so.
set -eu
cd "$(dirname "$0")/../../../.."
peers="$PWD/target/webhook-peers"
mkdir -p "$peers"
[ -x "$peers/python/bin/python" ] || python3 -m venv "$peers/python"
"$peers/python/bin/pip" install --quiet standardwebhooks==1.1.0
npm install --silent --no-fund --no-audit --prefix "$peers" standardwebhooks@1.1.1
ENSUE_WEBHOOK_PYTHON="$peers/python/bin/python" ENSUE_WEBHOOK_NODE_PATH="$peers/node_modules" \
    exec cargo test -p ensue-server --all-features --test http official
