# podman and buildah over plain HTTP.

podman_checks() {
  direct
  has podman buildah skopeo || return
  prepare_podman
  echo "      $(podman --version), $(buildah --version)"
  local image=$local/library/podman open=--tls-verify=false
  refused "podman: a wrong password is refused" 'unauthorized|invalid username/password' podman login $open -u dev -p wrong "$local"
  check "podman: login" podman login $open -u dev -p "$password" "$local"
  fresh podman
  buildah_image amd64
  buildah_image arm64
  check "podman: push" podman push $open podman-amd64 "$image:1"
  podman rmi -f podman-amd64 >/dev/null 2>&1
  check "podman: pull" podman pull $open "$image:1"
  if [ "$ROOT" = yes ]; then
    prints "podman: run" 'hello from the registry' podman run --rm --cgroup-parent "/${work##*/}" "$image:1"
  fi
  podman tag "$image:1" "$image:2"
  check "podman: push another tag" podman push $open "$image:2"
  prints "podman: the tags are listed" '\b2\b' podman search $open --list-tags "$image"
  check "podman: push with docker's media types" podman push $open --format v2s2 "$image:1" "$image:docker"
  podman_refusals
  podman_index
  buildah_cache
  check "podman: logout" podman logout "$local"
  refused "podman: no push after logout" 'unauthorized|authentication required|denied' podman push $open built-twice "$image:3"
}

# buildah_image ARCHITECTURE
buildah_image() {
  local container
  container=$(buildah from --arch "$1" scratch)
  buildah copy -q "$container" podman / >/dev/null
  buildah config --arch "$1" --cmd /hello "$container"
  check "buildah: commit for $1" buildah commit -q "$container" "podman-$1"
  buildah rm "$container" >/dev/null
}

podman_refusals() {
  # It asks with HEAD, whose answer has no body to name the project in.
  refused "podman: a missing project is refused" 'unauthorized' podman push $open "$image:1" "$local/nowhere/app:1"
  refused "podman: no push into another's project" 'unauthorized|denied' podman push $open "$image:1" "$local/team/app:1"
  refused "podman: a missing tag is unknown" 'not found|unknown' podman pull $open "$image:none"
  refused "podman: a guest pushes nothing" 'unauthorized|denied' podman push $open --creds "guest:$password" "$image:1" "$image:guest"
  check "podman: a guest pulls" podman pull $open --creds "guest:$password" "$image:1"
}

podman_index() {
  podman manifest create podman-index >/dev/null
  podman manifest add podman-index containers-storage:"$image:1" >/dev/null
  podman manifest add podman-index containers-storage:localhost/podman-arm64 >/dev/null
  check "podman: manifest push --all" podman manifest push --all $open podman-index "docker://$image:index"
  prints "podman: the index holds both platforms" 'arm64' skopeo inspect --raw $open "docker://$image:index"
  check "podman: pull the other platform" podman pull $open --arch arm64 "$image:index"
}

buildah_cache() {
  fresh cached
  printf 'FROM scratch\nCOPY hello /hello\nCOPY noise /noise\nCMD ["/hello"]\n' >cached/Dockerfile
  local build=(buildah build $open --layers --cache-to "$local/library/cache" --cache-from "$local/library/cache")
  prints "buildah: build and push the cache" 'Pushing cache' "${build[@]}" -t built-once cached
  buildah rmi -fa >/dev/null
  prints "buildah: build from the cache in the registry" 'Cache pulled' "${build[@]}" -t built-twice cached
  check "buildah: push" buildah push $open built-twice "$image:built"
}

podman_checks
