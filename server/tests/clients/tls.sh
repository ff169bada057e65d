# Every client over TLS, with an authority that only its own settings name.

tls_checks() {
  direct
  has openssl || return
  local image=$name/library/tls
  tls_curl
  # First, since it reads docker's directory of certificates too.
  tls_podman
  tls_docker
  tls_containerd
}

tls_curl() {
  refused "curl: an unknown authority is refused" 'certificate' curl -sS "https://$name/v2/"
  prints "curl: the token realm is https" "realm=\"https://$name/service/token\"" curl -sSi --cacert pki/ca.crt "https://$name/v2/"
  prints "curl: HTTP/2" '^HTTP/2 401' curl -sSi --cacert pki/ca.crt "https://$name/v2/"
  prints "curl: HTTP/1.1 where only that is asked for" '^HTTP/1.1 401' curl -sSi --http1.1 --cacert pki/ca.crt "https://$name/v2/"
  local path
  for path in /v2/ /v2/library/nothing/manifests/1 /v2/nowhere/app/manifests/1 /v2/library/nothing/tags/list /nothing / /readyz; do
    prints "curl: HEAD of $path over HTTP/2" '^HTTP/2 [234]' curl -sSI --cacert pki/ca.crt -u "dev:$password" "https://$name$path"
  done
  refused "curl: TLS 1.1 is refused" 'alert|version|protocol|handshake|SSL' curl -sS --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 --cacert pki/ca.crt "https://$name/v2/"
}

tls_docker() {
  start_docker || return
  local DOCKER_CONFIG=$work/docker-tls
  export DOCKER_CONFIG
  fresh tls-docker
  tar -C tls-docker -c . | docker import -c 'CMD ["/hello"]' - "$image:docker" >/dev/null
  refused "docker, TLS: an unknown authority is refused" 'certificate signed by unknown authority|failed to verify' docker login -u dev -p "$password" "$name"
  mkdir -p "/etc/docker/certs.d/$name"
  cp pki/ca.crt "/etc/docker/certs.d/$name/ca.crt"
  refused "docker, TLS: a wrong password is refused" 'unauthorized' docker login -u dev -p wrong "$name"
  check "docker, TLS: login" docker login -u dev -p "$password" "$name"
  check "docker, TLS: push" docker push "$image:docker"
  docker rmi -f "$image:docker" >/dev/null
  check "docker, TLS: pull" docker pull "$image:docker"
  prints "docker, TLS: run" 'hello from the registry' docker run --rm --network none "$image:docker"
  check "docker, TLS: logout" docker logout "$name"
}

tls_podman() {
  has podman skopeo || return
  prepare_podman
  small_layout tls-image amd64
  refused "podman, TLS: an unknown authority is refused" 'certificate signed by unknown authority' podman login -u dev -p "$password" "$name"
  mkdir -p "/etc/containers/certs.d/$name"
  cp pki/ca.crt "/etc/containers/certs.d/$name/ca.crt"
  refused "podman, TLS: a wrong password is refused" 'unauthorized|invalid username/password' podman login -u dev -p wrong "$name"
  check "podman, TLS: login" podman login -u dev -p "$password" "$name"
  check "skopeo, TLS: push with podman's login" skopeo copy dir:tls-image "docker://$image:1"
  check "podman, TLS: pull" podman pull "$image:1"
  check "podman, TLS: push" podman push "$image:1" "$image:podman"
  check "podman, TLS: logout" podman logout "$name"
}

tls_containerd() {
  start_containerd || return
  refused "containerd, TLS: an unknown authority is refused" 'certificate signed by unknown authority' ctr images pull --user "dev:$password" "$image:1"
  containerd_host "$name" ""
  check "containerd, TLS: pull" ctr images pull --hosts-dir "$work/certs.d" --user "dev:$password" "$image:1"
  ctr images tag "$image:1" "$image:containerd" >/dev/null
  check "containerd, TLS: push" ctr images push --hosts-dir "$work/certs.d" --user "dev:$password" "$image:containerd"
}

tls_checks
