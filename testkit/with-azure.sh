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

dir=$(mktemp -d "${TMPDIR:-/tmp}/test-azure.XXXXXX")
# The emulator's account, which stands in its documentation.
account=devstoreaccount1
key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

# Ends the server when this script has gone, however it went: then nobody holds the other end of the pipe any more.
mkfifo "$dir/alive"
(
    trap '' HUP INT TERM
    cat "$dir/alive" >/dev/null
    kill -9 "$(cat "$dir/server.pid")" 2>/dev/null || true
    cd / && rm -rf "$dir"
) </dev/null >/dev/null 2>&1 &
exec 9>"$dir/alive"

setsid "$azurite" --skipApiVersionCheck --disableTelemetry --disableProductStyleUrl --inMemoryPersistence \
    --blobHost 127.0.0.1 --blobPort 0 >"$dir/out" 2>&1 </dev/null 9>&- &
echo $! >"$dir/server.pid"
tries=150
until port=$(sed -n 's|^Azurite Blob service successfully listens on http://127.0.0.1:||p' "$dir/out" | tr -cd 0-9 | grep .); do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then
        echo "with-azure: Azurite does not start" >&2
        tail -n 20 "$dir/out" >&2
        exit 1
    fi
    sleep 0.2
done

export TEST_AZURE="http://127.0.0.1:$port $account $key"
status=0
"$@" 9>&- || status=$?
exec 9>&-
wait
exit $status
