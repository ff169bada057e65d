# skopeo over plain HTTP: copies in and out, listing, deleting; an index made by hand.

skopeo_checks() {
  direct
  has skopeo || return
  prepare_podman
  echo "      $(skopeo --version)"
  local image=$local/library/skopeo in=--src-tls-verify=false out=--dest-tls-verify=false open=--tls-verify=false
  small_layout skopeo-amd64 amd64
  small_layout skopeo-arm64 arm64
  refused "skopeo: a wrong password is refused" 'unauthorized|invalid username/password' skopeo login $open -u dev -p wrong "$local"
  check "skopeo: login" skopeo login $open -u dev -p "$password" "$local"
  check "skopeo: copy into the registry" skopeo copy $out dir:skopeo-amd64 "docker://$image:1"
  check "skopeo: copy out of it" skopeo copy $in "docker://$image:1" dir:skopeo-back
  check "skopeo: it is the same manifest" cmp skopeo-amd64/manifest.json skopeo-back/manifest.json
  check "skopeo: copy to another tag" skopeo copy $in $out "docker://$image:1" "docker://$image:2"
  check "skopeo: copy to another repository" skopeo copy $in $out "docker://$image:1" "docker://$local/library/skopeo-copy:1"
  prints "skopeo: list-tags" '"2"' skopeo list-tags $open "docker://$image"
  prints "skopeo: inspect" '"Architecture": "amd64"' skopeo inspect $open "docker://$image:1"
  skopeo_index
  skopeo_refusals
  skopeo_delete
  check "skopeo: logout" skopeo logout "$local"
}

skopeo_index() {
  cp -r skopeo-amd64 skopeo-index
  cp skopeo-arm64/* skopeo-index/
  local entries="" architecture digest
  for architecture in amd64 arm64; do
    digest=$(digest_of "skopeo-$architecture/manifest.json")
    cp "skopeo-$architecture/manifest.json" "skopeo-index/$digest.manifest.json"
    entries+="${entries:+,}{\"mediaType\":\"$oci.manifest.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$(stat -c %s "skopeo-$architecture/manifest.json"),\"platform\":{\"os\":\"linux\",\"architecture\":\"$architecture\"}}"
  done
  echo "{\"schemaVersion\":2,\"mediaType\":\"$oci.index.v1+json\",\"manifests\":[$entries]}" >skopeo-index/manifest.json
  check "skopeo: copy an index with all it names" skopeo copy --all $out dir:skopeo-index "docker://$image:index"
  check "skopeo: copy the index within the registry" skopeo copy --all $in $out "docker://$image:index" "docker://$local/library/skopeo-copy:index"
  prints "skopeo: the other platform is found" '"Architecture": "arm64"' skopeo --override-arch arm64 inspect $open "docker://$image:index"
  check "skopeo: sync the repository to a directory" skopeo sync --src-tls-verify=false --all --src docker --dest dir "$image" skopeo-synced
}

skopeo_refusals() {
  # It asks with HEAD, whose answer has no body to name the project in.
  refused "skopeo: a missing project is refused" 'unauthorized' skopeo copy $out dir:skopeo-amd64 "docker://$local/nowhere/app:1"
  refused "skopeo: a guest pushes nothing" 'unauthorized|denied' skopeo copy $out --dest-creds "guest:$password" dir:skopeo-amd64 "docker://$image:guest"
  refused "skopeo: a guest deletes nothing" 'unauthorized|denied' skopeo delete $open --creds "guest:$password" "docker://$image:1"
  refused "skopeo: docker's first manifest format is refused by name" 'schema' skopeo copy $in $out --format v2s1 "docker://$image:1" "docker://$image:old"
  small_layout broken amd64
  head -c 1000 /dev/urandom >"broken/$(grep -o 'sha256:[0-9a-f]*' broken/manifest.json | tail -n 1 | cut -d : -f 2)"
  refused "skopeo: a layer of another digest is refused" 'digest|size' skopeo copy $out dir:broken "docker://$image:broken"
}

skopeo_delete() {
  small_layout skopeo-gone amd64
  check "skopeo: copy what will be deleted" skopeo copy $out dir:skopeo-gone "docker://$image:gone"
  refused "skopeo: a developer deletes nothing" 'unauthorized|denied' skopeo delete $open "docker://$image:gone"
  check "skopeo: delete" skopeo delete $open --creds "admin:$password" "docker://$image:gone"
  refused "skopeo: it is gone" 'unknown|not found' skopeo inspect $open "docker://$image:gone"
  check "skopeo: the others are there" skopeo inspect $open "docker://$image:1"
}

skopeo_checks
