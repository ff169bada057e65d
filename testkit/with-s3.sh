#!/bin/sh
# with-s3.sh CMD…: runs a command with an S3 server of its own, Ceph's gateway over one monitor and one store in memory, and
# ends it with the command, which finds TEST_S3 ("ENDPOINT ID SECRET") and TEST_CEPH_SWIFT, the same gateway in Swift's interface
# ("AUTH_URL USER KEY"). A server named by TEST_S3 already is used as it is. Nothing is installed: where Ceph is missing that
# is said, and the command runs without.
set -eu

if [ -n "${TEST_S3:-}" ]; then
    exec "$@"
fi
for program in ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin; do
    if ! command -v "$program" >/dev/null; then
        echo "left out: $program is not installed (Debian: apt-get install ceph-mon ceph-osd radosgw)" >&2
        exec "$@"
    fi
done

what=s3
. "$(dirname "$0")/beside.sh"
mkdir "$dir/run" "$dir/mon" "$dir/osd"
base=$(base 15000 8000 0 1 10)
gateway=$((base + 10))
export CEPH_CONF="$dir/ceph.conf" CEPH_ARGS=
cat >"$CEPH_CONF" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$base,v1:127.0.0.1:$((base + 1))
public addr = 127.0.0.1
ms bind port min = $((base + 20))
ms bind port max = $((base + 80))
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $dir/keyring
run dir = $dir/run
admin socket = $dir/run/\$cluster-\$name.\$pid.asok
log file = $dir/\$name.log
pid file =
mon data = $dir/mon
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 6442450944
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
auth allow insecure global id reclaim = false
mon data avail warn = 2
mon data avail crit = 1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$gateway tcp_nodelay=1
rgw enable usage log = false
rgw thread pool size = 64
rgw enable apis = s3, swift, swift_auth, admin
END

{
    ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
    ceph-authtool "$dir/keyring" --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
    monmaptool --create --clobber --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" \
        --addv a "[v2:127.0.0.1:$base,v1:127.0.0.1:$((base + 1))]" "$dir/monmap"
    ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
} >"$dir/make.out" 2>&1 9>&- || complain "Ceph's monitor cannot be made"
server mon ceph-mon -i a -f
await 100 timeout 5 ceph status
{
    osd=$(cat /proc/sys/kernel/random/uuid)
    ceph osd new "$osd"
    ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' >>"$dir/keyring"
    ceph-osd -i 0 --mkfs --osd-uuid "$osd"
} >"$dir/make.out" 2>&1 9>&- || complain "Ceph's store cannot be made"
server osd ceph-osd -i 0 -f
await 200 sh -c 'ceph osd stat | grep -q "1 up"'
server gateway radosgw -n client.rgw -f
await 300 curl -s -o /dev/null "http://127.0.0.1:$gateway/"
await 20 radosgw-admin user create --uid test --display-name Test --access-key testkey --secret testsecret
await 20 radosgw-admin subuser create --uid test --subuser test:swift --access full --secret-key swiftsecret --key-type swift

export TEST_CEPH_SWIFT="http://127.0.0.1:$gateway/auth/1.0 test:swift swiftsecret"
export TEST_S3="http://127.0.0.1:$gateway testkey testsecret"
unset CEPH_CONF CEPH_ARGS
finish "$@"
