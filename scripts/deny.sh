#!/usr/bin/env bash
# Licences, bans and sources of every dependency. The advisory database is checked where the network allows it.
set -euo pipefail
command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny
cargo deny --all-features check --hide-inclusion-graph licenses bans sources
