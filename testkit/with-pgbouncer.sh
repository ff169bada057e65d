#!/bin/sh
# with-pgbouncer.sh CMD…: runs a command with pgbouncer in transaction mode before the PostgreSQL server that with-postgres.sh started, and ends it with the command, which finds pgbouncer's address in that variable instead. Nothing is installed:
# where pgbouncer is missing that is said, and the command runs without.
set -eu

if ! command -v pgbouncer >/dev/null; then
    echo "left out: pgbouncer is not installed (Debian: apt-get install pgbouncer)" >&2
    exec "$@"
fi
if [ -z "${TEST_POSTGRES_URL:-}" ]; then
    echo "left out: pgbouncer has no server behind it; run this below testkit/with-postgres.sh" >&2
    exec "$@"
fi

what=pgbouncer
. "$(dirname "$0")/beside.sh"
# It refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    as="-u nobody"
fi
chmod 755 "$dir"
behind=${TEST_POSTGRES_URL#*@}
behind=${behind%%/*}
port=$(base 31200 1500 0)
cat >"$dir/pgbouncer.ini" <<END
[databases]
* = host=${behind%:*} port=${behind##*:} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 12
max_client_conn = 2000
server_idle_timeout = 5
END
server pgbouncer pgbouncer $as "$dir/pgbouncer.ini"
await 50 listens "$port"

export TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres"
finish "$@"
