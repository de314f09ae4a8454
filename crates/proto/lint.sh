#!/bin/sh
# The protocol as buf wants it: lint, formatting, and nothing that breaks programs built on `baseline.binpb`.
# `lint.sh --accept` makes the protocol as it is the baseline: for a release, or for a break that is meant.
set -eu
cd "$(dirname "$0")"
if ! command -v npx >/dev/null; then
    echo "SKIPPED: npx is not installed, and buf comes by it: the protocol is not linted" >&2
    [ -z "${CI:-}" ]
    exit
fi
buf() {
    npx --yes --package @bufbuild/buf@1.75.0 buf "$@"
}
if [ "${1:-}" = --accept ]; then
    buf build proto --exclude-source-info -o baseline.binpb
fi
buf lint proto
buf format --exit-code --diff proto
buf breaking proto --against baseline.binpb
