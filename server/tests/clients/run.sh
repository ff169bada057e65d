# run.sh WORK PART…: inside the namespaces that scripts/clients.sh made. Prepares what all parts share and runs them.
set -uo pipefail
here=$(dirname "$0")
work=$1
shift
repository=$(realpath "$here/../../..")

. "$here/checks.sh"
. "$here/machine.sh"
. "$here/server.sh"
. "$here/daemons.sh"
. "$here/images.sh"

cd "$work" || exit 1
prepare_machine
prepare_certificates
prepare_content
for part in "$@"; do
  began=$SECONDS
  . "$here/$part.sh"
  echo "      $part took $((SECONDS - began)) s"
done
stop_registry
totals
