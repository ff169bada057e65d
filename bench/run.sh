#!/bin/sh
# Builds Seawall and the benchmark as they are shipped and runs it: `bench/run.sh [MEASURE…] [--quick] [--json FILE]`,
# see `--help`. Peers are those found on PATH.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release -p server -p bench
PATH="$PATH${SEAWALL_TEST_BIN:+:$SEAWALL_TEST_BIN}" exec "$target/release/bench" --seawall "$target/release/seawall" --dir "$target/bench" "$@"
