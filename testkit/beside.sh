# What the scripts with-….sh share, each of which runs a command beside servers of its own. Not run by itself, but read by one of them with
# `what` set to what its server is called, once that is known to be installed. From then on there is the directory $dir for all that the
# servers need, and it goes with the script, as the servers do, however that ends. They may be nested: each calls the next one as its command.
#
# Ports below those that the kernel gives away by itself (32768 and up), so that no two kinds of server are in each other's way:
# 10000 PostgreSQL, 12500 the tests' own servers (`lasting_port` in testkit/src/process.rs), 15000 Ceph, 23100 Swift,
# 31200 pgbouncer.

dir=$(mktemp -d "${TMPDIR:-/tmp}/test-$what.XXXXXX")

# Ends the servers when this script has gone: then nobody holds the other end of the pipe any more. Whoever is to be ended otherwise
# than by its process has a program $dir/end for it.
mkfifo "$dir/alive"
(
    trap '' HUP INT TERM
    cat "$dir/alive" >/dev/null
    if [ -x "$dir/end" ]; then
        "$dir/end" >/dev/null 2>&1 || true
    fi
    for pid in "$dir"/*.pid; do
        kill -9 "$(cat "$pid")" 2>/dev/null || true
    done
    cd / && rm -rf "$dir"
) </dev/null >/dev/null 2>&1 &
exec 9>"$dir/alive"

# complain TEXT: the end, with what the servers have said.
complain() {
    echo "with-$what: $1" >&2
    tail -n 20 "$dir"/*.out >&2 || true
    exit 1
}

# server NAME CMD…: starts one; what it says goes to $dir/NAME.out.
server() {
    name=$1
    shift
    setsid "$@" >"$dir/$name.out" 2>&1 </dev/null 9>&- &
    echo $! >"$dir/$name.pid"
}

# await TRIES CMD…: a fifth of a second between two tries.
await() {
    tries=$1
    shift
    until "$@" >/dev/null 2>&1 9>&-; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            complain "$* does not succeed"
        fi
        sleep 0.2
    done
}

# told NAME TEXT: the number that server NAME has said behind TEXT, as far as it has.
told() {
    sed -n "s|.*$2\([0-9][0-9]*\).*|\1|p" "$dir/$1.out" | grep -m 1 .
}

# tells NAME TEXT: the same once it has; the port that it has found for itself.
tells() {
    await 150 told "$1" "$2"
    told "$1" "$2"
}

# listens PORT: whether anybody does.
listens() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$(printf ':%04X' "$1")" 'substr($2, length($2) - 4) == port && $4 == "0A" { found = 1 } END { exit !found }'
}

# random FROM SPAN: a number of that range.
random() {
    echo $(($1 + $(od -An -N2 -tu2 /dev/urandom) % $2))
}

# base FROM SPAN OFFSET…: a port of that range above which nobody listens yet at any of these offsets.
base() {
    from=$1 span=$2
    shift 2
    tries=50
    while :; do
        base=$(random "$from" "$span")
        taken=
        for offset in "$@"; do
            if listens $((base + offset)); then
                taken=yes
            fi
        done
        if [ -z "$taken" ]; then
            echo "$base"
            return
        fi
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            complain "no free ports from $from on"
        fi
    done
}

# finish CMD…: runs the command; then the servers end, and this script with the command's status.
finish() {
    status=0
    "$@" 9>&- || status=$?
    exec 9>&-
    wait
    exit $status
}
