#!/bin/sh
# with-swift.sh CMD…: runs a command with an OpenStack Swift of its own, and ends it with the command, which finds TEST_SWIFT
# ("AUTH_URL USER KEY", TempAuth) and, where Keystone is installed, TEST_KEYSTONE ("AUTH_URL USER PASSWORD PROJECT"). Servers
# named by TEST_SWIFT already are used as they are. Nothing is installed: what is missing is said, and the command runs without.
set -eu

if [ -n "${TEST_SWIFT:-}" ]; then
    exec "$@"
fi
for program in swift-ring-builder swift-proxy-server swift-account-server swift-container-server swift-object-server memcached; do
    if ! command -v "$program" >/dev/null; then
        echo "left out: $program is not installed (Debian: apt-get install swift-proxy swift-account swift-container swift-object memcached)" >&2
        exec "$@"
    fi
done
keystone=yes
for program in keystone-manage keystone-wsgi-public; do
    command -v "$program" >/dev/null || keystone=
done
/usr/bin/python3 -c 'import keystonemiddleware' 2>/dev/null || keystone=
if [ -z "$keystone" ]; then
    echo "left out: Swift with Keystone (Debian: apt-get install keystone python3-keystonemiddleware)" >&2
fi

what=swift
. "$(dirname "$0")/beside.sh"
mkdir "$dir/device" "$dir/device/d1" "$dir/fernet" "$dir/credential"
base=$(base 23100 8000 0 1 2 4 5 6 7)
memcached=$((base + 4)) proxy=$((base + 5)) identity=$((base + 6)) proxied=$((base + 7))

# Swift reads this from /etc/swift unless its code is told otherwise, which needs no root.
cat >"$dir/swift.conf" <<END
[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test
[storage-policy:0]
name = Policy-0
default = yes
END
cat >"$dir/serve.py" <<END
import sys
from swift.common import utils
utils.set_swift_dir("$dir")
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[2], sys.argv[1], verbose=True))
END

# A busy machine is slow: nothing is to look as if it had failed, or to follow later.
common() {
    echo "[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $1
workers = 0
user = $(id -un)
swift_dir = $dir
log_address = $dir/none
log_level = WARNING"
}

port=$base
for kind in account container object; do
    {
        swift-ring-builder "$dir/$kind.builder" create 4 1 1
        swift-ring-builder "$dir/$kind.builder" add --region 1 --zone 1 --ip 127.0.0.1 --port $port --device d1 --weight 1
        swift-ring-builder "$dir/$kind.builder" rebalance || true
    } >"$dir/make.out" 2>&1 9>&-
    {
        common $port
        echo "devices = $dir/device
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
container_update_timeout = 60
conn_timeout = 30
node_timeout = 60"
    } >"$dir/$kind.conf"
    port=$((port + 1))
done

# proxy NAME PORT HOW: with the middleware that says who asks.
proxy_conf() {
    {
        common "$2"
        echo "[pipeline:main]
pipeline = catch_errors gatekeeper cache bulk tempurl $3 copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 30
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 100000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$memcached
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = ${SWIFT_SEGMENTS:-1000}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
storage_url_scheme = http
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = http://127.0.0.1:$identity/v3
auth_url = http://127.0.0.1:$identity/v3
auth_type = password
username = admin
password = testing
project_name = admin
user_domain_id = default
project_domain_id = default
delay_auth_decision = true"
    } >"$dir/$1.conf"
}

server memcached memcached -u "$(id -un)" -l 127.0.0.1 -p $memcached -m 32
proxy_conf proxy $proxy tempauth
for kind in account container object proxy; do
    server $kind /usr/bin/python3 "$dir/serve.py" "$kind-server" "$dir/$kind.conf"
done
for offset in 0 1 2; do
    await 150 listens $((base + offset))
done

if [ -n "$keystone" ]; then
    cat >"$dir/keystone.conf" <<END
[DEFAULT]
log_file = $dir/keystone.log
[database]
connection = sqlite:///$dir/keystone.sqlite
[token]
provider = fernet
[fernet_tokens]
key_repository = $dir/fernet
[credential]
key_repository = $dir/credential
END
    manage() {
        keystone-manage --config-file "$dir/keystone.conf" "$@" >>"$dir/make.out" 2>&1 9>&- || { tail -n 20 "$dir/make.out" >&2; exit 1; }
    }
    manage db_sync
    manage fernet_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    manage credential_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    url="http://127.0.0.1:$identity/v3"
    manage bootstrap --bootstrap-password testing --bootstrap-public-url "$url" --bootstrap-internal-url "$url" \
        --bootstrap-admin-url "$url" --bootstrap-region-id one
    server keystone env OS_KEYSTONE_CONFIG_FILES="$dir/keystone.conf" keystone-wsgi-public --host 127.0.0.1 --port $identity
    await 150 curl -fs "$url"
    # Asks until it goes through: on SQLite it refuses who comes while it still writes.
    keystone_post() {
        tries=20
        until curl -fs -i -H "Content-Type: application/json" -H "X-Auth-Token: ${token:-}" "$url/$1" -d "$2" >"$dir/answer" 9>&-; do
            tries=$((tries - 1))
            if [ $tries = 0 ]; then
                echo "with-swift: Keystone does not take $1" >&2
                exit 1
            fi
            sleep 0.2
        done
    }
    keystone_post auth/tokens '{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},
        "password":"testing"}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}'
    token=$(tr -d '\r' <"$dir/answer" | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p')
    keystone_post services '{"service":{"type":"object-store","name":"swift"}}'
    service=$(sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' "$dir/answer")
    for interface in public internal; do
        keystone_post endpoints "{\"endpoint\":{\"service_id\":\"$service\",\"interface\":\"$interface\",\"region\":\"one\",
            \"url\":\"http://127.0.0.1:$proxied/v1/AUTH_%(tenant_id)s\"}}"
    done
    proxy_conf proxied $proxied "authtoken keystoneauth"
    server proxied /usr/bin/python3 "$dir/serve.py" proxy-server "$dir/proxied.conf"
    await 150 curl -fs -o /dev/null "http://127.0.0.1:$proxied/info"
    export TEST_KEYSTONE="$url admin testing admin"
fi

await 150 curl -fs -o /dev/null -H 'X-Storage-User: test:tester' -H 'X-Storage-Pass: testing' "http://127.0.0.1:$proxy/auth/v1.0"
export TEST_SWIFT="http://127.0.0.1:$proxy/auth/v1.0 test:tester testing"
finish "$@"
