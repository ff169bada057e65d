#!/usr/bin/env bash
# image.sh BINARY [NAME:TAG]: makes an image of a static binary with docker (or what DOCKER names).
set -euo pipefail
binary=$1 name=${2:-seawall:latest}
here=$(cd "$(dirname "$0")" && pwd)
if readelf -l "$binary" 2>/dev/null | grep -q INTERP; then
  echo "image: $binary needs libraries, which the image does not have: \`make static\` builds one that does not" >&2
  exit 1
fi
authorities=/etc/ssl/certs/ca-certificates.crt
[ -r "$authorities" ] || { echo "image: $authorities is missing (Debian: apt-get install ca-certificates)" >&2; exit 1; }
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/empty"
cp "$binary" "$context/seawall"
chmod 0755 "$context/seawall"
cp "$authorities" "$context/"
echo 'seawall:x:10000:10000:Seawall:/var/lib/seawall:/nonexistent' >"$context/passwd"
echo 'seawall:x:10000:' >"$context/group"
${DOCKER:-docker} build --quiet --file "$here/Dockerfile" --tag "$name" "$context" >/dev/null
echo "$name"
