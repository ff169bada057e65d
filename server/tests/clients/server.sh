# The server under test: one for all clients that reach it directly, others behind proxies.

password=Harbor12345
# Clients take this address for their own machine: plain HTTP without a word.
local=127.0.0.1:8080
registry_process=

# start_registry CONFIGURATION: on a fresh data directory; ends the one before.
start_registry() {
  stop_registry
  rm -rf data
  sed "s|^data = .*|data = \"$work/data\"|" "$1" >"$work/seawall.toml"
  : >"$work/access.log"
  # Emptied here, since the shell that starts the server may come later than the first look into it.
  : >server.out
  SEAWALL_ADMIN_PASSWORD=$password SEAWALL_LOG__FORMAT=json SEAWALL_LOG__ACCESS_TARGET=file:$work/access.log \
    "$SEAWALL_BIN" serve --config "$work/seawall.toml" >server.out 2>server.log </dev/null &
  registry_process=$!
  if ! wait_for 60 grep -q ' is ready at ' server.out; then
    cat server.out server.log
    echo "clients: the server did not become ready" >&2
    exit 1
  fi
}

stop_registry() {
  [ -n "$registry_process" ] || return 0
  cp server.log said
  kill -TERM "$registry_process"
  wait "$registry_process"
  local status=$?
  registry_process=
  [ $status = 0 ] || fail "the server stops" "exit code $status"
  # Whatever a client does, it is not the server's fault.
  if grep -Eq '"level":"error"|panicked' server.log; then
    grep -E '"level":"error"|panicked' server.log | tail -n 5 >said
    fail "the server's log holds no error" "$(grep -Ec '"level":"error"|panicked' server.log) found"
  fi
}

# seawall ARGUMENT…: a command on the running server.
seawall() {
  "$SEAWALL_BIN" "$@" --config "$work/seawall.toml"
}

# people: who the checks speak of. `dev` may push into library, `guest` may pull there; the project `team` is private.
people() {
  local user
  for user in dev guest; do echo "$password" | seawall user create "$user" --password-stdin || return 1; done
  seawall project create team &&
    seawall project member set library dev developer &&
    seawall project member set library guest guest &&
    seawall robot create ci --project team --push --json >robot.json
}

# The secret of the robot `robot$team+ci`.
robot_secret() {
  sed -n 's/.*"secret": *"\([^"]*\)".*/\1/p' "$work/robot.json"
}

# direct: the server that clients reach without a proxy; started by whichever part comes first.
direct() {
  [ "${registry_kind:-}" != direct ] || return 0
  cat >direct.toml <<END
[server]
data = "filled in"

[[listen]]
address = "0.0.0.0:8080"

[[listen]]
address = "$outer:443"
tls = true

[[listen]]
address = "$outer:8443"
tls = true
client_certificates = "required"

[[listen]]
address = "$outer:9443"
tls = true
client_certificates = "optional"

[tls]
certificates = [{ certificate = "$work/pki/server.crt", key = "$work/pki/server.key" }]
client_ca = "$work/pki/ca.crt"

[tls.client_map.names]
"ci.example.com" = "robot\$team+ci"
END
  start_registry direct.toml
  registry_kind=direct
  check "server: users, projects and a robot are made" people
}

# accessed FILTER…: whether the access log gets a line with all of these ("name":"value", as JSON writes them). Lines are written
# after the answer, so it may take a moment.
accessed() {
  wait_for 5 access_line "$@" || { echo "no access line has $*"; tail -n 5 "$work/access.log"; return 1; }
}

access_line() {
  local lines filter
  lines=$(cat "$work/access.log")
  for filter in "$@"; do
    lines=$(grep -F -- "$filter" <<<"$lines") || return 1
  done
}
