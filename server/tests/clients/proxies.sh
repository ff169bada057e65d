# Behind haproxy and nginx, configured exactly as docs/proxies.md says.

# Where clients connect from when they may choose.
visitor=10.99.0.9

proxies_checks() {
  has openssl || return
  mkdir -p /etc/seawall /etc/haproxy
  cp pki/server.crt /etc/seawall/tls.crt
  cp pki/server.key /etc/seawall/tls.key
  cat pki/server.crt pki/server.key >/etc/haproxy/registry.pem
  for directory in /etc/docker/certs.d /etc/containers/certs.d; do
    mkdir -p "$directory/$name"
    cp pki/ca.crt "$directory/$name/ca.crt"
  done
  if has haproxy; then
    behind_haproxy "haproxy, TLS ended by Seawall"
    behind_haproxy "haproxy, TLS ended by haproxy"
  fi
  if has nginx; then
    behind_nginx "nginx, TLS ended by nginx"
  fi
}

# from_docs HEADING LANGUAGE: that block of docs/proxies.md.
from_docs() {
  awk -v heading="## $1" -v fence='```'"$2" '
    /^## / { here = ($0 == heading); next }
    here && $0 == fence { copying = 1; next }
    /^```$/ { copying = 0 }
    copying { print }' "$repository/docs/proxies.md"
}

# registry_behind HEADING
registry_behind() {
  stop_registry
  registry_kind=proxied
  from_docs "$1" toml >proxied.toml
  start_registry proxied.toml
  check "$1: users, projects and a robot are made" people
}

behind_haproxy() {
  registry_behind "$1"
  from_docs "$1" haproxy >/etc/haproxy/haproxy.cfg
  haproxy -W -db -f /etc/haproxy/haproxy.cfg >"$work/haproxy.log" 2>&1 </dev/null &
  through_proxy "$1" $! haproxy.log
}

behind_nginx() {
  registry_behind "$1"
  mkdir -p /etc/nginx/sites-enabled nginx
  rm -f /etc/nginx/sites-enabled/*
  from_docs "$1" nginx >/etc/nginx/sites-enabled/registry
  cp pki/server.crt /etc/nginx/registry.crt
  cp pki/server.key /etc/nginx/registry.key
  cat >nginx/nginx.conf <<END
user root; daemon off; pid $work/nginx/pid; error_log $work/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $work/nginx/body; proxy_temp_path $work/nginx/proxy; fastcgi_temp_path $work/nginx/fastcgi;
  uwsgi_temp_path $work/nginx/uwsgi; scgi_temp_path $work/nginx/scgi;
  include /etc/nginx/sites-enabled/*;
}
END
  nginx -e "$work/nginx.log" -p "$work/nginx" -c "$work/nginx/nginx.conf" </dev/null >nginx.out 2>&1 &
  through_proxy "$1" $! nginx.log
}

# through_proxy HEADING PROCESS LOG: what clients see of a proxy that was just started; then it is ended.
through_proxy() {
  local what=$1 process=$2 image=$name/library/proxied
  if wait_for 20 curl -fsS --cacert pki/ca.crt "https://$name/readyz"; then
    proxied_requests
    proxied_skopeo
    proxied_podman
    proxied_docker
  else
    cp "$3" said
    fail "$what: it starts" "$(basename "$3" .log)"
  fi
  kill -TERM "$process"
  wait "$process"
}

proxied_requests() {
  prints "$what: the realm names the outer host and scheme" "realm=\"https://$name/service/token\"" visit /v2/
  check "$what: the access log has the client's address" accessed "\"client\":\"$visitor\"" '"path":"/v2/"' '"status":401'
  prints "$what: a client cannot make up the host and the scheme" "realm=\"https://$name/service/token\"" visit /v2/claimed/tags/list \
    -H 'X-Forwarded-For: 192.0.2.1' -H 'Forwarded: for=192.0.2.1' -H 'X-Forwarded-Host: evil.example' -H 'X-Forwarded-Proto: gopher'
  check "$what: nor its address" accessed "\"client\":\"$visitor\"" '"path":"/v2/claimed/tags/list"'
  head -c 300M /dev/zero >zeros
  prints "$what: a body of 300 MiB goes through" '201' proxied_upload
  rm -f zeros
}

# visit PATH ARGUMENT…: from an address that is not the proxy's.
visit() {
  local path=$1
  shift
  curl -sSi --interface "$visitor" --cacert pki/ca.crt "$@" "https://$name$path"
}

# One POST, one PATCH of unknown length, one PUT.
proxied_upload() {
  local curl=(curl -sS --cacert pki/ca.crt -u "dev:$password") at
  at=$("${curl[@]}" -X POST -o /dev/null -w '%header{location}' "https://$name/v2/library/zeros/blobs/uploads/")
  at=$("${curl[@]}" -X PATCH -H 'Content-Type: application/octet-stream' -H 'Transfer-Encoding: chunked' -T zeros -o /dev/null \
    -w '%header{location}' "$(absolute "$at")")
  "${curl[@]}" -X PUT -o /dev/null -w '%{http_code}' "$(absolute "$at")?digest=sha256:$(digest_of zeros)"
}

# absolute LOCATION
absolute() {
  case $1 in /*) echo "https://$name$1" ;; *) echo "$1" ;; esac
}

proxied_skopeo() {
  has skopeo || return
  prepare_podman
  rm -rf proxied proxied-back
  small_layout proxied amd64
  check "$what: skopeo pushes" skopeo copy --dest-creds "dev:$password" dir:proxied "docker://$image:1"
  check "$what: skopeo pulls" skopeo copy "docker://$image:1" dir:proxied-back
  check "$what: the access log names the user, and not the proxy's address" \
    accessed '"identity":"dev"' "\"client\":\"$outer\"" '"route":"manifest.put"' '"reference":"1"'
}

proxied_podman() {
  has podman || return
  prepare_podman
  refused "$what: podman is refused with a wrong password" 'unauthorized|invalid username/password' podman login -u dev -p wrong "$name"
  check "$what: podman logs in" podman login -u dev -p "$password" "$name"
  podman rmi -fa >/dev/null 2>&1
  check "$what: podman pulls" podman pull "$image:1"
  check "$what: podman pushes" podman push "$image:1" "$image:podman"
  podman logout "$name" >/dev/null
}

proxied_docker() {
  start_docker || return
  local DOCKER_CONFIG=$work/docker-proxied
  export DOCKER_CONFIG
  rm -rf proxied-docker
  fresh proxied-docker
  tar -C proxied-docker -c . | docker import -c 'CMD ["/hello"]' - "$image:docker" >/dev/null
  refused "$what: docker is refused with a wrong password" 'unauthorized' docker login -u dev -p wrong "$name"
  check "$what: docker logs in" docker login -u dev -p "$password" "$name"
  check "$what: docker pushes" docker push "$image:docker"
  docker rmi -f "$image:docker" >/dev/null
  check "$what: docker pulls" docker pull "$image:docker"
  docker logout "$name" >/dev/null
}

proxies_checks
