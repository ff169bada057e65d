#!/bin/sh
# with-gcs.sh CMD…: runs a command with a server that stands in for Google Cloud Storage, and ends it with the command, which finds
# TEST_GCS ("ENDPOINT"). A server named by TEST_GCS already is used as it is. Nothing is installed here
# (scripts/prepare-stores.sh does that): where moto is missing that is said, and the command runs without.
#
# The emulators of Google's own interface (fake-gcs-server, gcp-storage-emulator) have no uploads in parts. So this is moto, an S3
# server: Google's XML interface has the same calls and answers. Not tried with it are the conditions and storage classes of
# Google (x-goog-…), everything about credentials (it asks for none), and signed addresses.
set -eu

if [ -n "${TEST_GCS:-}" ]; then
    exec "$@"
fi
installed=${SEAWALL_TEST_STORES:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/stores}/moto/bin
if ! "$installed/python" -c 'import moto.server' 2>/dev/null; then
    echo "left out: moto is not installed (scripts/prepare-stores.sh)" >&2
    exec "$@"
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/test-gcs.XXXXXX")

# Ends the server when this script has gone, however it went: then nobody holds the other end of the pipe any more.
mkfifo "$dir/alive"
(
    trap '' HUP INT TERM
    cat "$dir/alive" >/dev/null
    kill -9 "$(cat "$dir/server.pid")" 2>/dev/null || true
    cd / && rm -rf "$dir"
) </dev/null >/dev/null 2>&1 &
exec 9>"$dir/alive"

# moto breaks over a part of an upload that it does not know; others say so.
cat >"$dir/server.py" <<END
from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import S3Backend
from moto.server import main

taken = S3Backend.upload_part


def upload_part(self, bucket_name, multipart_id, part_id, value):
    if multipart_id not in self.get_bucket(bucket_name).multiparts:
        raise NoSuchUpload(upload_id=multipart_id)
    return taken(self, bucket_name, multipart_id, part_id, value)


S3Backend.upload_part = upload_part
main(["-H", "127.0.0.1", "-p", "0"])
END
setsid "$installed/python" "$dir/server.py" >"$dir/out" 2>&1 </dev/null 9>&- &
echo $! >"$dir/server.pid"
tries=150
until port=$(sed -n 's|.*Running on http://127.0.0.1:||p' "$dir/out" | tr -cd 0-9 | grep .); do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then
        echo "with-gcs: moto does not start" >&2
        tail -n 20 "$dir/out" >&2
        exit 1
    fi
    sleep 0.2
done

export TEST_GCS="http://127.0.0.1:$port"
status=0
"$@" 9>&- || status=$?
exec 9>&-
wait
exit $status
