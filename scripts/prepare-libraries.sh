#!/usr/bin/env bash
# Installs what server/tests/clients/libraries.sh runs, below target/libraries: harborapi in an environment of Python's own, and
# our program with goharbor/go-client. Both come from their registries the first time only. What cannot be had is said, and its
# reason kept in NAME.missing, so that the part leaves it out; a program of ours that does not compile is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
HARBORAPI=0.26.2
TOOLS=$(realpath -m "${SEAWALL_TEST_LIBRARIES:-${CARGO_TARGET_DIR:-target}/libraries}")
mkdir -p "$TOOLS/bin"

# missing NAME WHY
missing() {
  echo "$2" >"$TOOLS/$1.missing"
  echo "prepare-libraries: no $1: $2" >&2
}

prepare_harborapi() {
  local python=$TOOLS/harborapi/bin/python
  rm -f "$TOOLS/harborapi.missing"
  installed "$python" && return
  if ! command -v python3 >/dev/null; then
    missing harborapi "python3 is not installed"
  elif ! python3 -m venv --clear "$TOOLS/harborapi" >"$TOOLS/harborapi.log" 2>&1; then
    missing harborapi "python3 makes no environment (Debian: python3-venv)"
  elif ! "$python" -m pip install --quiet --retries 1 "harborapi==$HARBORAPI" >"$TOOLS/harborapi.log" 2>&1 || ! installed "$python"; then
    missing harborapi "not to be had from Python's package index (see $TOOLS/harborapi.log)"
  fi
}

# installed PYTHON: whether it has harborapi in our version.
installed() {
  [ "$("$1" -c 'from harborapi.__about__ import __version__; print(__version__)' 2>/dev/null)" = "$HARBORAPI" ]
}

prepare_go_client() {
  rm -f "$TOOLS/go-client.missing"
  if ! command -v go >/dev/null; then
    missing go-client "go is not installed"
  elif ! (cd server/tests/clients/libraries/go && go mod download) >"$TOOLS/go-client.log" 2>&1; then
    missing go-client "not to be had from Go's module proxy (see $TOOLS/go-client.log)"
  else
    (cd server/tests/clients/libraries/go && go build -buildvcs=false -o "$TOOLS/bin/go-client" .)
  fi
}

prepare_harborapi
prepare_go_client
