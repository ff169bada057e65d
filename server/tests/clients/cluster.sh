# Three nodes set up with the commands of docs/cluster.md, over a real PostgreSQL and a real bucket, behind haproxy. Each node is a
# machine of its own as far as /etc/seawall, /usr/local/bin, /var/lib/seawall and its name go.

cluster_page=$repository/docs/cluster.md

cluster_checks() {
  has haproxy ceph-mon radosgw openssl psql || return
  [ "$ROOT" = yes ] || { leave_out cluster "PostgreSQL and its nodes run as users of their own, which takes root"; return; }
  cluster_parts || return
  local node
  mkdir -p /etc/seawall /var/lib/seawall
  for node in 10 11 12 13; do ip address add "10.0.0.$node/32" dev lo; done
  for node in a b c; do
    mkdir -p "nodes/$node/etc" "nodes/$node/bin" "nodes/$node/var" "nodes/$node/files"
    cp "$SEAWALL_BIN" "nodes/$node/files/seawall"
    cp "$repository/packaging/seawall.service" "nodes/$node/files/"
    cluster_configuration "$node" >"nodes/$node/files/seawall.toml"
  done
  check "cluster: PostgreSQL's role and database" cluster_database
  check "cluster: a bucket" cluster_bucket
  for node in a b c; do
    check "cluster: node $node is set up" on "$node" "$(page_block sh 'useradd')"
  done
  check "cluster: the first node begins" on a "$(page_block sh 'seawall check')"
  await_node a || return
  for node in b c; do
    check "cluster: node $node begins with the first one's key" on "$node" "$(page_block sh '^chown')"
    await_node "$node"
  done
  prints "cluster: the nodes know each other" 'a +ready.*|b +ready|c +ready' on b "$(page_block sh 'seawall node ls')"
  cluster_balancer
  cluster_use
  check "cluster: a node is drained from another" on b 'seawall node drain a --data /var/lib/seawall'
  check "cluster: and resumed" on c 'seawall node resume a --data /var/lib/seawall'
  for node in a b c; do cluster_stop "$node"; done
  kill "$cluster_haproxy" "$cluster_services"
  wait "$cluster_haproxy" "$cluster_services" 2>/dev/null
}

# page_block LANGUAGE PATTERN: the block of the page in which a line matches.
page_block() {
  awk -v fence='```'"$1" -v pattern="$2" '
    $0 == fence { inside = 1; block = ""; wanted = 0; next }
    /^```$/ && inside { if (wanted) printf "%s", block; inside = 0 }
    inside { block = block $0 "\n"; if ($0 ~ pattern) wanted = 1 }' "$cluster_page"
}

# PostgreSQL and the bucket, until they are killed.
cluster_parts() {
  # Their users may not look into our directory.
  TMPDIR=/run "$repository/testkit/with-s3.sh" "$repository/testkit/with-postgres.sh" \
    sh -c 'echo "$TEST_S3 $TEST_POSTGRES_URL" >parts.new && mv parts.new parts && exec sleep 86400' >parts.log 2>&1 </dev/null &
  cluster_services=$!
  if ! wait_for 120 test -s parts; then
    cp parts.log said
    fail "cluster: PostgreSQL and a bucket" "they do not start"
    return 1
  fi
  read -r endpoint access_key secret_key postgres <parts
}

# The page's configuration, with the names of what is really there.
cluster_configuration() {
  local address
  case $1 in a) address=10.0.0.11 ;; b) address=10.0.0.12 ;; c) address=10.0.0.13 ;; esac
  local host=${postgres#*@}
  page_block toml '^\[server\]' | sed -e "s|10\.0\.0\.11:8080|$address:8080|" -e "s|pg-1,pg-2,pg-3|${host%%/*}|" \
    -e "s|https://s3.example.org|$endpoint|" -e "s|ACCESS_KEY|$access_key|" -e "s|SECRET_KEY|$secret_key|"
}

cluster_database() {
  page_block sql CREATE | psql -v ON_ERROR_STOP=1 -X -d "$postgres"
}

# Signed as S3 had it first, which a shell can do.
cluster_bucket() {
  local date signature
  date=$(LC_ALL=C TZ=GMT date '+%a, %d %b %Y %H:%M:%S GMT')
  signature=$(printf 'PUT\n\n\n%s\n/registry' "$date" | openssl dgst -sha1 -hmac "$secret_key" -binary | base64)
  curl -fsS -X PUT -H "Date: $date" -H "Authorization: AWS $access_key:$signature" "$endpoint/registry"
}

# on NODE COMMANDS: as its operator, in a directory with the files he has. What starts a service there starts it here.
on() {
  rm -f "nodes/$1/start"
  NODE=$1 NODES=$work/nodes unshare --mount --uts bash -euc '
    mount --bind "$NODES/$NODE/etc" /etc/seawall
    mount --bind "$NODES/$NODE/var" /var/lib/seawall
    mount --bind "$NODES/$NODE/bin" /usr/local/bin
    hostname "$NODE"
    useradd() { id seawall >/dev/null 2>&1 || command useradd "$@"; }
    systemctl() { [ "$*" = "enable --now seawall" ] && : >"$NODES/$NODE/start"; }
    scp() { cp --preserve=mode "$2" "$NODES/${3%%:*}/var/${3##*/}"; }
    cd "$NODES/$NODE/files"
    eval "$1"' on "$2" &
  local operator=$!
  while kill -0 $operator 2>/dev/null; do
    [ ! -e "nodes/$1/start" ] || cluster_start "$1"
    sleep 0.1
  done
  wait $operator || return
  [ ! -e "nodes/$1/start" ] || cluster_start "$1"
}

# cluster_start NODE: what the unit says is started.
cluster_start() {
  local start
  rm -f "nodes/$1/start"
  : >"$work/nodes/$1.out"
  start=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/seawall.service)
  NODE=$1 NODES=$work/nodes START=$start SEAWALL_ADMIN_PASSWORD=$password setsid unshare --mount --uts --kill-child --fork bash -euc '
    mount --bind "$NODES/$NODE/etc" /etc/seawall
    mount --bind "$NODES/$NODE/var" /var/lib/seawall
    mount --bind "$NODES/$NODE/bin" /usr/local/bin
    hostname "$NODE"
    exec setpriv --reuid seawall --regid seawall --clear-groups $START' >"$work/nodes/$1.out" 2>"$work/nodes/$1.log" </dev/null &
  cluster_processes[$1]=$!
}

declare -A cluster_processes=()

await_node() {
  wait_for 60 grep -q ' is ready at ' "nodes/$1.out" && return
  cp "nodes/$1.log" said
  fail "cluster: node $1 is ready" "it is not"
  return 1
}

# cluster_stop NODE: and it ends well.
cluster_stop() {
  local process
  process=$(pgrep -P "${cluster_processes[$1]}")
  kill -TERM "$process"
  wait "${cluster_processes[$1]}"
  local status=$?
  cp "nodes/$1.log" said
  [ $status = 0 ] && pass "cluster: node $1 stops" || fail "cluster: node $1 stops" "exit code $status"
}

cluster_balancer() {
  mkdir -p /etc/haproxy
  page_block haproxy '^frontend' | sed 's/bind :80$/bind 10.0.0.10:80/' >/etc/haproxy/haproxy.cfg
  haproxy -W -db -f /etc/haproxy/haproxy.cfg >haproxy-cluster.log 2>&1 </dev/null &
  cluster_haproxy=$!
  cp haproxy-cluster.log said
  wait_for 20 curl -fsS http://10.0.0.10/readyz || fail "cluster: haproxy answers" "it does not"
}

# Whoever has docker pushes and pulls through the balancer, also while one node is gone.
cluster_use() {
  local image=10.0.0.10/library/clustered
  small_layout clustered amd64
  local push=(skopeo copy --dest-tls-verify=false --dest-creds "admin:$password" dir:clustered) pull=(skopeo copy --src-tls-verify=false)
  has skopeo || return
  check "cluster: skopeo pushes through haproxy" "${push[@]}" "docker://$image:1"
  kill -KILL "$(pgrep -P "${cluster_processes[a]}")"
  wait "${cluster_processes[a]}" 2>/dev/null
  check "cluster: skopeo pulls while a node is gone" "${pull[@]}" "docker://$image:1" dir:clustered-back
  check "cluster: and pushes" "${push[@]}" "docker://$image:2"
  cluster_start a
  await_node a
  check "cluster: the node is back" curl -fsS http://10.0.0.11:8080/readyz
}

cluster_checks
