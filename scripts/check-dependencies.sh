#!/usr/bin/env bash
# Licences, sources, duplicates and known vulnerabilities of the dependencies (deny.toml).
#
# The list of vulnerabilities is downloaded. Where that is not possible the rest is checked all the
# same, and a warning says so.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo deny --locked check bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "warning: the advisory database is out of reach; vulnerabilities were not checked" >&2
fi
