#!/usr/bin/env bash
# clients.sh [--all] [PART…]: real clients and proxies against a running server, each part in server/tests/clients/.
#
# Without names the parts run that Debian's packages are enough for, and libraries, which are installed below target/; with --all
# every part. SEAWALL_TEST_BIN names a directory with further programs (crane, helm, cosign, conformance …), SEAWALL_BIN another
# server than target/debug/seawall.
# What is missing is left out loudly; SEAWALL_TEST_REQUIRE names what must not be (`docker,nginx`, or `all` for everything
# that is in Debian).
#
# All of it runs in namespaces of its own (mounts, network, processes): addresses, /etc, /run and every daemon are this run's
# alone and end with it, however it ends; nothing reaches the outside.
set -euo pipefail
cd "$(dirname "$0")/.."

here=$PWD/server/tests/clients
usual=(docker podman skopeo containerd tls certificates proxies cluster large conformance libraries)
extra=(tools buildkit)

parts=()
for argument in "$@"; do
  case $argument in
    --all) parts+=("${usual[@]}" "${extra[@]}") ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) [ -f "$here/$argument.sh" ] || { echo "clients: there is no part \`$argument\`; there are: ${usual[*]} ${extra[*]}" >&2; exit 2; }
       parts+=("$argument") ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=("${usual[@]}")

if [ -z "${SEAWALL_BIN:-}" ]; then
  cargo build --quiet -p server --bin seawall
  SEAWALL_BIN=${CARGO_TARGET_DIR:-target}/debug/seawall
fi
SEAWALL_BIN=$(realpath "$SEAWALL_BIN")
export SEAWALL_BIN PATH="${SEAWALL_TEST_BIN:+$SEAWALL_TEST_BIN:}$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# What they come from is out of reach later.
SEAWALL_TEST_LIBRARIES=$(realpath -m "${SEAWALL_TEST_LIBRARIES:-${CARGO_TARGET_DIR:-target}/libraries}")
export SEAWALL_TEST_LIBRARIES
case " ${parts[*]} " in *" libraries "*) scripts/prepare-libraries.sh ;; esac

# Outside root's own reach a user namespace gives what most clients need; those that need more say so.
isolate=(unshare --mount --net --pid --fork --kill-child --mount-proc)
[ "$(id -u)" = 0 ] || isolate+=(--map-root-user)
if ! "${isolate[@]}" true 2>/dev/null; then
  echo "left out: all clients: this machine allows no namespaces (unshare)" >&2
  echo "0 passed, 0 failed, ${#parts[@]} skipped"
  case ",${SEAWALL_TEST_REQUIRE:-}," in *,all,*|*,namespaces,*) exit 1 ;; esac
  exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/seawall-clients.XXXXXX")
running=
clean_up() {
  if [ -n "$running" ]; then
    # The shell would tell of the kill.
    exec 2>/dev/null
    kill -KILL "$running" || true
    wait || true
  fi
  # Layers hold directories that may not be written.
  [ "$(id -u)" = 0 ] || chmod -R u+rwX "$work" 2>/dev/null || true
  rm -rf --one-file-system "$work"
  # Containers that were killed leave their (empty) control groups.
  find /sys/fs/cgroup -maxdepth 3 -type d -path "*${work##*/}*" 2>/dev/null | sort -r | xargs -r rmdir 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

ROOT=$([ "$(id -u)" = 0 ] && echo yes || echo no) "${isolate[@]}" bash "$here/run.sh" "$work" "${parts[@]}" </dev/null &
running=$!
status=0
wait "$running" || status=$?
running=
exit "$status"
