#!/bin/sh
# with-azure.sh CMD…: runs a command with a blob service of Azure's own emulator, Azurite, and ends it with the command, which finds
# TEST_AZURE ("ENDPOINT ACCOUNT KEY"). A service named by TEST_AZURE already is used as it is. Nothing is installed here
# (scripts/prepare-stores.sh does that): where Azurite is missing that is said, and the command runs without.
#
# Azurite is not the real service in this: it throttles nobody, forgets uncommitted blocks never, and takes no batch with a shared
# access signature. Started without TLS it believes no identities, so that those are not tried here.
set -eu

if [ -n "${TEST_AZURE:-}" ]; then
    exec "$@"
fi
installed=${SEAWALL_TEST_STORES:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/stores}/node_modules/.bin
azurite=$(PATH="$installed:$PATH" command -v azurite-blob) || {
    echo "left out: Azurite is not installed (scripts/prepare-stores.sh)" >&2
    exec "$@"
}

what=azure
. "$(dirname "$0")/beside.sh"

# The emulator's account, which stands in its documentation.
account=devstoreaccount1
key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

server azurite "$azurite" --skipApiVersionCheck --disableTelemetry --disableProductStyleUrl --inMemoryPersistence \
    --blobHost 127.0.0.1 --blobPort 0
port=$(tells azurite 'Azurite Blob service successfully listens on http://127.0.0.1:')
export TEST_AZURE="http://127.0.0.1:$port $account $key"
finish "$@"
