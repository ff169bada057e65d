# containerd's ctr over plain HTTP.

containerd_checks() {
  direct
  start_containerd || return
  has skopeo || return
  local image=$local/library/containerd who=(--plain-http --user "dev:$password")
  small_layout containerd-image amd64
  skopeo copy -q dir:containerd-image oci-archive:containerd.tar:"$image:1" >/dev/null
  check "containerd: import" ctr images import containerd.tar
  refused "containerd: a wrong password is refused" 'unauthorized|401' ctr images push --plain-http --user dev:wrong "$image:1"
  refused "containerd: no push without a login" 'authorization|unauthorized|401' ctr images push --plain-http "$image:1"
  check "containerd: push" ctr images push "${who[@]}" "$image:1"
  ctr images rm "$image:1" >/dev/null
  check "containerd: pull" ctr images pull "${who[@]}" "$image:1"
  check "containerd: tag" ctr images tag "$image:1" "$image:2"
  check "containerd: push another tag" ctr images push "${who[@]}" "$image:2"
  ctr images rm "$image:1" >/dev/null
  check "containerd: a stranger pulls from a public project" ctr images pull --plain-http "$image:1"
  prints "containerd: run" 'hello from the registry' containerd_run
  ctr images tag "$image:1" "$local/nowhere/app:1" >/dev/null
  refused "containerd: a missing project is refused" 'authorization|unauthorized|401' ctr images push "${who[@]}" "$local/nowhere/app:1"
  # Into a repository that has none of the blobs: this version hangs when only the manifest is refused.
  refused "containerd: a guest pushes nothing" 'authorization|unauthorized|401' ctr images push --plain-http --user "guest:$password" "$image-guest:1" "$image:1"
  refused "containerd: a missing tag is unknown" 'not found' ctr images pull "${who[@]}" "$image:none"
  if [ -d skopeo-index ]; then
    check "containerd: pull an index for all platforms" ctr images pull "${who[@]}" --all-platforms "$local/library/skopeo:index"
    check "containerd: push the index" ctr images push "${who[@]}" "$image:index" "$local/library/skopeo:index"
  fi
}

# Its control group lies where the run cleans up.
containerd_run() {
  ctr run --rm --cgroup "/${work##*/}/ctr" "$image:1" once /hello
}

containerd_checks
