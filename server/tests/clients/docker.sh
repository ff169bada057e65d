# docker over plain HTTP: login, push, pull, run, re-tag, mount, indexes, build cache, delete, and all refusals.

docker_checks() {
  direct
  start_docker || return
  local image=$local/library/docker
  docker_images
  refused "docker: a wrong password is refused" 'unauthorized' docker login -u admin -p wrong "$local"
  check "docker: login" docker login -u dev -p "$password" "$local"
  docker_push_and_pull
  docker_rights
  docker_index
  docker_build
  docker_delete
  docker tag second "$name:8080/library/docker:open"
  check "docker: login over plain HTTP to another machine" docker login -u dev -p "$password" "$name:8080"
  check "docker: and push" docker push "$name:8080/library/docker:open"
  check "docker: logout" docker logout "$local"
  refused "docker: no push after logout" 'unauthorized|no basic auth|denied' docker push "$image:1"
}

# docker_images: two small images, first and second, no run before had them.
docker_images() {
  local image
  for image in first second; do
    fresh "docker-$image"
    tar -C "docker-$image" -c . | docker import -c 'CMD ["/hello"]' - "$image" >/dev/null
  done
}

docker_push_and_pull() {
  docker tag first "$image:1"
  check "docker: push" docker push "$image:1"
  local digest
  digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$image:1")
  docker rmi -f "$image:1" first >/dev/null
  check "docker: pull" docker pull "$image:1"
  prints "docker: run" 'hello from the registry' docker run --rm --network none "$image:1"
  docker rmi -f "$image:1" >/dev/null
  check "docker: pull by digest" docker pull "$digest"
  docker tag "$digest" "$image:2"
  prints "docker: a second tag sends no layer" 'Layer already exists' docker push "$image:2"
  docker tag "$digest" "$local/library/docker-copy:1"
  prints "docker: another repository mounts the layer" 'Mounted from library/docker' docker push "$local/library/docker-copy:1"
  docker tag second "$image:2"
  check "docker: a tag moves" docker push "$image:2"
  docker rmi -f "$image:2" >/dev/null
  check "docker: the moved tag is pulled" docker pull "$image:2"
  docker tag "$image:2" second
  check "docker: it is the other image" test "$(docker inspect --format '{{.Id}}' "$image:2")" = "$(docker inspect --format '{{.Id}}' second)"
}

docker_rights() {
  docker tag second "$local/nowhere/app:1"
  refused "docker: a missing project is named" 'project nowhere not found' docker push "$local/nowhere/app:1"
  docker tag second "$local/team/app:1"
  refused "docker: no push into another's project" 'unauthorized|denied' docker push "$local/team/app:1"
  refused "docker: no pull from another's project" 'unauthorized|denied|not found' docker pull "$local/team/other:1"
  refused "docker: a missing tag is unknown" 'not found|unknown' docker pull "$image:none"
  local DOCKER_CONFIG=$work/docker-guest
  export DOCKER_CONFIG
  check "docker: a stranger pulls from a public project" docker pull "$image:1"
  check "docker: a guest logs in" docker login -u guest -p "$password" "$local"
  check "docker: a guest pulls" docker pull "$image:1"
  docker tag second "$image:guest"
  refused "docker: a guest pushes nothing" 'unauthorized|denied' docker push "$image:guest"
  check "docker: a robot logs in" docker login -u 'robot$team+ci' -p "$(robot_secret)" "$local"
  check "docker: a robot pushes into its project" docker push "$local/team/app:1"
}

docker_index() {
  docker tag second "$image:amd64"
  docker tag second "$image:arm64"
  check "docker: push for one platform" docker push "$image:amd64"
  check "docker: push for the other platform" docker push "$image:arm64"
  check "docker: manifest create" docker manifest create --insecure "$image:index" "$image:amd64" "$image:arm64"
  check "docker: manifest annotate" docker manifest annotate --arch arm64 --variant v8 "$image:index" "$image:arm64"
  check "docker: manifest push" docker manifest push --insecure "$image:index"
  prints "docker: manifest inspect" 'arm64' docker manifest inspect --insecure "$image:index"
  check "docker: pull through the index" docker pull "$image:index"
}

docker_build() {
  fresh build
  printf 'FROM scratch\nCOPY hello /hello\nCOPY noise /noise\nCMD ["/hello"]\n' >build/Dockerfile
  check "docker: build" env DOCKER_BUILDKIT=0 docker build -q -t "$image:built" build
  check "docker: push what was built" docker push "$image:built"
  # BuildKit inside the daemon, which newer clients reach through a plugin only.
  local client
  client=$(type -ap docker | while read -r client; do
    if DOCKER_BUILDKIT=1 "$client" build -q build >/dev/null 2>&1; then echo "$client" && break; fi
  done)
  if [ -z "$client" ]; then
    leave_out docker-buildkit "the docker client at hand needs the buildx plugin" elsewhere
    return
  fi
  local build=(env DOCKER_BUILDKIT=1 "$client" build --progress=plain --build-arg BUILDKIT_INLINE_CACHE=1)
  check "docker: build with its cache in the image" "${build[@]}" -t "$image:cached" build
  check "docker: push the cache" docker push "$image:cached"
  docker rmi -f "$image:cached" >/dev/null
  docker builder prune -af >/dev/null 2>&1
  prints "docker: build from the cache in the registry" 'CACHED' "${build[@]}" --cache-from "$image:cached" -t "$image:again" build
}

docker_delete() {
  local digest
  digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$image:built")
  check "docker: delete the image through the API" curl -fsS -X DELETE -u "admin:$password" "http://$local/v2/library/docker/manifests/${digest#*@}"
  refused "docker: what was deleted is not pulled" 'not found|unknown' docker pull "$image:built"
  check "docker: it can be pushed again" docker push "$image:built"
  check "docker: and pulled" docker pull "$image:built"
}

docker_checks
