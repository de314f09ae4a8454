#!/usr/bin/env bash
# What the server sends, read with the official classes of OTLP (PyPI: opentelemetry-proto).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../.."
cargo build --quiet -p ensue-cli --features otel
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet opentelemetry-proto
"$environment/bin/python" crates/cli/tests/peers/otlp.py "${CARGO_TARGET_DIR:-target}/debug/ensue"
