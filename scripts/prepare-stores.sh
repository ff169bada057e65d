#!/usr/bin/env bash
# Installs the object stores that testkit/with-azure.sh and with-gcs.sh start, below target/stores: Azurite from npm and moto from
# Python's package index, each the first time only (about 20 s). What cannot be had is said, and tests leave it out.
set -euo pipefail
cd "$(dirname "$0")/.."
AZURITE=3.35.0
MOTO=5.2.5
STORES=$(realpath -m "${SEAWALL_TEST_STORES:-${CARGO_TARGET_DIR:-target}/stores}")
mkdir -p "$STORES"

prepare_azurite() {
  local package=$STORES/node_modules/azurite/package.json
  grep -qs "\"version\": \"$AZURITE\"" "$package" && return
  if ! command -v npm >/dev/null; then
    echo "prepare-stores: no Azurite: npm is not installed" >&2
  elif ! timeout 120 npm install --prefix "$STORES" --silent --no-audit --no-fund "azurite@$AZURITE" >"$STORES/azurite.log" 2>&1; then
    echo "prepare-stores: no Azurite: not to be had from npm's registry (see $STORES/azurite.log)" >&2
  fi
}

prepare_moto() {
  local python=$STORES/moto/bin/python
  "$python" -c "import moto; assert moto.__version__ == '$MOTO'" 2>/dev/null && return
  if ! command -v python3 >/dev/null || ! python3 -m venv --clear "$STORES/moto" >"$STORES/moto.log" 2>&1; then
    echo "prepare-stores: no moto: python3 makes no environment (Debian: python3-venv)" >&2
  elif ! timeout 120 "$python" -m pip install --quiet --retries 1 "moto[s3]==$MOTO" flask flask-cors >"$STORES/moto.log" 2>&1; then
    rm -rf "$STORES/moto"
    echo "prepare-stores: no moto: not to be had from Python's package index (see $STORES/moto.log)" >&2
  fi
}

prepare_azurite
prepare_moto
