# Signing in with a client certificate: no login at all. On port 8443 one is required, on 9443 it may be left out.

certificates_checks() {
  direct
  has openssl || return
  certificates_curl
  certificates_podman
  certificates_docker
  certificates_containerd
}

# get PORT CERTIFICATE PATH: with a client certificate of ours, or with none when that is empty.
get() {
  curl -sSi --cacert pki/ca.crt ${2:+--cert "pki/$2.crt" --key "pki/$2.key"} "https://$name:$1$3"
}

certificates_curl() {
  prints "curl, certificate: it signs in" '^HTTP/2 200' get 8443 ci /v2/
  refused "curl, certificate: required" 'alert|certificate required|reset|SSL' get 8443 "" /v2/
  refused "curl, certificate: another authority's is refused" 'alert|unknown ca|reset|SSL' get 8443 forged /v2/
  refused "curl, certificate: nor where it is optional" 'alert|unknown ca|reset|SSL' get 9443 forged /v2/
  prints "curl, certificate: optional" '^HTTP/2 401' get 9443 "" /v2/
  prints "curl, certificate: of nobody we know" '^HTTP/2 401' get 8443 ghost /v2/
  prints "curl, certificate: a password may be brought beside it" '^HTTP/2 200' \
    curl -sSi --cacert pki/ca.crt --cert pki/ghost.crt --key pki/ghost.key -u "dev:$password" "https://$name:8443/v2/"
  check "the access log names the robot" accessed '"identity":"robot$team+ci"' '"path":"/v2/"'
}

# certs_of DIR HOST:PORT CERTIFICATE: as docker and podman look for them.
certs_of() {
  mkdir -p "$1/$2"
  cp pki/ca.crt "$1/$2/ca.crt"
  cp "pki/$3.crt" "$1/$2/client.cert"
  cp "pki/$3.key" "$1/$2/client.key"
}

certificates_docker() {
  start_docker || return
  local DOCKER_CONFIG=$work/docker-certificate port image
  export DOCKER_CONFIG
  for port in 8443 9443; do
    image=$name:$port/team/docker:1
    fresh "certificate-$port"
    tar -C "certificate-$port" -c . | docker import -c 'CMD ["/hello"]' - "$image" >/dev/null
    mkdir -p "/etc/docker/certs.d/$name:$port"
    cp pki/ca.crt "/etc/docker/certs.d/$name:$port/ca.crt"
    refused "docker, certificate, $port: no push without" 'certificate required|bad certificate|unauthorized|no basic auth|denied' docker push "$image"
    certs_of /etc/docker/certs.d "$name:$port" ci
    check "docker, certificate, $port: push without a login" docker push "$image"
    docker rmi -f "$image" >/dev/null
    check "docker, certificate, $port: pull without a login" docker pull "$image"
    docker tag "$image" "$name:$port/library/docker:1"
    refused "docker, certificate, $port: no push beyond the robot's project" 'unauthorized|denied' docker push "$name:$port/library/docker:1"
  done
}

certificates_podman() {
  has podman skopeo || return
  prepare_podman
  local image=$name:8443/team/podman
  small_layout certificate-image amd64
  mkdir -p "/etc/containers/certs.d/$name:8443"
  cp pki/ca.crt "/etc/containers/certs.d/$name:8443/"
  refused "skopeo, certificate: no push without" 'certificate required|bad certificate|tls' skopeo copy dir:certificate-image "docker://$image:1"
  certs_of /etc/containers/certs.d "$name:8443" ci
  check "skopeo, certificate: push without a login" skopeo copy dir:certificate-image "docker://$image:1"
  check "podman, certificate: pull without a login" podman pull "$image:1"
  check "podman, certificate: push without a login" podman push "$image:1" "$image:2"
}

certificates_containerd() {
  start_containerd || return
  has skopeo || return
  local image=$name:8443/team/containerd:1
  small_layout certificate-containerd amd64
  skopeo copy -q dir:certificate-containerd oci-archive:certificate.tar:"$image" >/dev/null
  ctr images import certificate.tar >/dev/null
  containerd_host "$name:8443" ""
  refused "containerd, certificate: no push without" 'certificate required|bad certificate|tls' ctr images push --hosts-dir "$work/certs.d" "$image"
  containerd_host "$name:8443" "client = [[\"$work/pki/ci.crt\", \"$work/pki/ci.key\"]]"
  check "containerd, certificate: push without a login" ctr images push --hosts-dir "$work/certs.d" "$image"
  ctr images rm "$image" >/dev/null
  check "containerd, certificate: pull without a login" ctr images pull --hosts-dir "$work/certs.d" "$image"
}

certificates_checks
