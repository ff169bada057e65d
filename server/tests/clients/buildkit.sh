# BuildKit on its own: its cache in the registry, as an image index of its own kind.

buildkit_checks() {
  has_extra buildctl buildkitd || return
  direct
  has runc || return
  [ "$ROOT" = yes ] || { leave_out buildkitd "runs as root only" elsewhere; return; }
  export BUILDKIT_HOST=unix:///run/buildkit-test.sock DOCKER_CONFIG=$work/docker-buildkit
  printf '[worker.oci]\nbinary = "%s"\nsnapshotter = "native"\n[worker.containerd]\nenabled = false\n[registry."%s"]\nhttp = true\n' \
    "$(command -v runc)" "$local" >buildkitd.toml
  buildkitd --config "$work/buildkitd.toml" --root "$work/buildkit" --addr "$BUILDKIT_HOST" >buildkitd.log 2>&1 </dev/null &
  if ! wait_for 30 buildctl debug workers; then
    cp buildkitd.log said
    fail "buildkit: the daemon starts" buildkitd
    return
  fi
  mkdir -p "$DOCKER_CONFIG"
  printf '{"auths":{"%s":{"auth":"%s"}}}' "$local" "$(printf 'dev:%s' "$password" | base64)" >"$DOCKER_CONFIG/config.json"
  fresh buildkit-context
  printf 'FROM scratch AS first\nCOPY noise /noise\nFROM scratch\nCOPY hello /hello\nCOPY --from=first /noise /copied\nCMD ["/hello"]\n' \
    >buildkit-context/Dockerfile
  local cache=$local/library/buildkit-cache:main image=$local/library/buildkit
  check "buildkit: build, push the image and all of its cache" build_with_cache "$image:1" --export-cache "type=registry,ref=$cache,mode=max"
  check "buildkit: the same as an image manifest" build_with_cache "$image:2" --export-cache "type=registry,ref=$cache-oci,mode=max,oci-mediatypes=true,image-manifest=true"
  check "buildkit: forget everything" buildctl prune --all
  prints "buildkit: build from the cache in the registry" 'CACHED' build_with_cache "$image:3" --import-cache "type=registry,ref=$cache"
  check "buildkit: forget everything again" buildctl prune --all
  prints "buildkit: build from the other cache" 'CACHED' build_with_cache "$image:4" --import-cache "type=registry,ref=$cache-oci"
  check "buildkit: an image with provenance" build_with_cache "$image:attested" --opt attest:provenance=mode=max
}

# build_with_cache IMAGE OPTION…
build_with_cache() {
  local image=$1
  shift
  timeout -k 5 "$patience" buildctl build --progress=plain --frontend dockerfile.v0 --local context=buildkit-context \
    --local dockerfile=buildkit-context --output "type=image,name=$image,push=true,registry.insecure=true" "$@"
}

buildkit_checks
