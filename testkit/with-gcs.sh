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

what=gcs
. "$(dirname "$0")/beside.sh"

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
server moto "$installed/python" "$dir/server.py"
port=$(tells moto 'Running on http://127.0.0.1:')
export TEST_GCS="http://127.0.0.1:$port"
finish "$@"
