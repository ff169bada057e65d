#!/bin/sh
# with-postgres.sh CMD…: runs a command with a PostgreSQL server of its own, and ends the server with it.
# The command finds TEST_POSTGRES_URL (a superuser's) and TEST_POSTGRES_CTL (runs pg_ctl on that server: start, stop,
# restart …). The newest version that is installed, or the one whose initdb and pg_ctl are in TEST_POSTGRES_BIN. A server
# named by TEST_POSTGRES_URL already is used as it is. Nothing is installed: where PostgreSQL is missing that is said, and
# the command runs without.
set -eu

if [ -n "${TEST_POSTGRES_URL:-}" ]; then
    exec "$@"
fi

bin=${TEST_POSTGRES_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -n 1)}
if [ -z "$bin" ] && initdb=$(command -v initdb); then
    bin=$(dirname "$initdb")
fi
if [ ! -x "$bin/initdb" ]; then
    echo "left out: PostgreSQL is not installed (Debian: apt-get install postgresql)" >&2
    exec "$@"
fi

# PostgreSQL refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    user=nobody
    if id postgres >/dev/null 2>&1; then
        user=postgres
    fi
    as="runuser -u $user --"
fi
what=postgres
. "$(dirname "$0")/beside.sh"
chmod 755 "$dir"
if [ -n "$as" ]; then
    chown "$user" "$dir"
fi
cd "$dir"

# A locale that does not sort by byte where it can be had, so that a query that relies on the default order fails.
init="$as $bin/initdb -D $dir/data -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync"
if ! $init --locale-provider=icu --icu-locale=en-US >"$dir/initdb.out" 2>&1; then
    rm -rf "$dir/data"
    $init >"$dir/initdb.out" 2>&1 || complain "initdb does not succeed"
fi
cat >"$dir/ctl" <<END
#!/bin/sh
cd "$dir" && exec $as $bin/pg_ctl -s -w -D "$dir/data" -l "$dir/data/server.log" "\$@"
END
cat >"$dir/end" <<END
#!/bin/sh
exec "$dir/ctl" stop -m immediate
END
chmod 755 "$dir/ctl" "$dir/end"

tries=0
while :; do
    port=$(base 10000 2500 0)
    cat >"$dir/conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir'
max_connections = 300
shared_buffers = 32MB
min_wal_size = 32MB
max_wal_size = 256MB
deadlock_timeout = 100ms
END
    cat "$dir/conf" >>"$dir/data/postgresql.conf"
    if "$dir/ctl" start >/dev/null 2>&1 9>&-; then
        break
    fi
    tries=$((tries + 1))
    if [ $tries = 5 ]; then
        cat "$dir/data/server.log" >&2
        exit 1
    fi
done

export TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres"
export TEST_POSTGRES_CTL="$dir/ctl"
cd "$OLDPWD"
finish "$@"
