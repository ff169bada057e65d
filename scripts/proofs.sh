#!/usr/bin/env bash
# What is proved beside the cargo tests, against the real binary. Each says what it had to leave out; all run, whichever fails.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

proof() {
  local what=$1
  shift
  echo "== $what"
  "$@" || failed+=("$what")
}

proof "real clients and proxies" scripts/clients.sh

[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
