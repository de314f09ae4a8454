#!/bin/sh
# Logs a person in at a provider that others wrote (oidc-provider-mock): a browser, this server, and the provider, over
# real connections. It installs it below target/; `cargo test` alone skips this test and says so.
set -eu
cd "$(dirname "$0")/../../../.."
peers="$PWD/target/login-peers"
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
"$peers/bin/pip" install --quiet oidc-provider-mock==0.3.4
ENSUE_OIDC_PROVIDER="$peers/bin/oidc-provider-mock" \
    exec cargo test -p ensue-server --all-features --test http provider_that_others_wrote
