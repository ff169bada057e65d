# The machine as clients see it, private to this run: addresses and names, /etc, /run and the like, certificates.

# No client takes this address for its own machine: nothing is let pass because it is "local".
outer=10.99.0.1
name=registry.example.com

prepare_machine() {
  set -e
  ip link set lo up
  for address in 10.99.0.1 10.99.0.2 10.99.0.9; do ip address add "$address/32" dev lo; done

  # A copy of what may be read: what is written into it stays here.
  mkdir etc && mount -t tmpfs none etc
  cp -r --preserve=mode,links /etc/. etc 2>/dev/null || true
  mount --bind etc /etc
  # Where podman and others keep what all their runs share.
  local shared
  for shared in /run /dev/shm /var/lib /var/cache; do
    [[ $work == "$shared"/* ]] || mount -t tmpfs none "$shared"
  done
  mkdir -p /run/lock
  printf '127.0.0.1 localhost\n%s %s\n10.99.0.2 push.%s\n' "$outer" "$name" "$name" >/etc/hosts
  echo 'hosts: files' >/etc/nsswitch.conf
  rm -rf /etc/docker /etc/containers/certs.d /etc/containers/registries.d
  mkdir -p /etc/containers

  # Clients that looked into the caller's settings would meet other registries there.
  unset "${!DOCKER_@}" "${!REGISTRY_@}" "${!BUILDAH_@}" "${!SEAWALL_LISTEN_@}" SSL_CERT_FILE SSL_CERT_DIR http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
  export HOME=$work/home XDG_RUNTIME_DIR=/run/user TMPDIR=$work/tmp
  mkdir -p "$HOME" "$XDG_RUNTIME_DIR" "$TMPDIR"
  chmod 700 "$XDG_RUNTIME_DIR"
  set +e
}

prepare_certificates() {
  command -v openssl >/dev/null || return 0
  mkdir pki
  (
    set -e
    cd pki
    authority ca "Test CA"
    authority stranger "Another CA"
    signed server ca "/CN=$name" "subjectAltName=DNS:$name,DNS:push.$name,IP:$outer" serverAuth
    signed ci ca "/O=Example/CN=ci.example.com" "subjectAltName=DNS:ci.example.com" clientAuth
    signed reader ca "/O=Example/CN=reader" "subjectAltName=DNS:reader.example.com" clientAuth
    signed ghost ca "/O=Example/CN=nobody-of-that-name" "subjectAltName=DNS:ghost.example.com" clientAuth
    signed forged stranger "/O=Example/CN=ci.example.com" "subjectAltName=DNS:ci.example.com" clientAuth
  ) >pki.log 2>&1
  [ -s pki/forged.crt ] || { cat pki.log; exit 1; }
}

# authority FILE NAME
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout "$1.key" -out "$1.crt" \
    -subj "/CN=$2" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# signed FILE AUTHORITY SUBJECT NAMES USE
signed() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$3"
  printf '%s\nextendedKeyUsage=%s\n' "$4" "$5" >"$1.extensions"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 30 -out "$1.crt" -extfile "$1.extensions"
}

# wait_for SECONDS COMMAND…
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.1
  done
}
