# crane, regctl, helm, cosign, oras and notation: programs that Debian does not have. Over plain HTTP, then over TLS.

tools_checks() {
  direct
  has_extra crane regctl helm helm3 cosign cosign2 oras notation || true
  # None of them may look for the outside: cosign's own trust root is made here.
  export COSIGN_PASSWORD="" REGCTL_CONFIG=$work/regctl.json XDG_CONFIG_HOME=$work/xdg XDG_CACHE_HOME=$work/xdg XDG_DATA_HOME=$work/xdg
  tools_over "http" "$local"
  if has openssl; then
    export SSL_CERT_FILE=$work/pki/ca.crt
    tools_over "https" "$name"
    unset SSL_CERT_FILE
  fi
}

# there TOOL: what is missing was told before.
there() {
  command -v "$1" >/dev/null
}

# tools_over SCHEME HOST
tools_over() {
  local scheme=$1 host=$2 image=$2/library/tools plain=() insecure=() cosign_plain=() notation_plain=()
  if [ "$scheme" = http ]; then
    plain=(--plain-http) insecure=(--insecure) notation_plain=(--insecure-registry)
    cosign_plain=(--allow-http-registry --allow-insecure-registry)
  fi
  export DOCKER_CONFIG=$work/tools-$scheme
  rm -rf tools && mkdir tools
  fresh tools/root
  tar -C tools/root -cf tools/layer.tar .
  if there crane; then tools_crane; fi
  if there regctl; then tools_regctl; fi
  local helm
  for helm in helm3 helm; do
    if there "$helm"; then tools_helm; fi
  done
  if there cosign && there crane; then tools_cosign; fi
  if there cosign2 && there cosign && there crane; then tools_cosign2; fi
  if there oras; then tools_oras; fi
  if there notation && there crane; then tools_notation; fi
}

tools_crane() {
  refused "crane, $scheme: no push without a login" 'UNAUTHORIZED|unauthorized' crane append "${insecure[@]}" --oci-empty-base -f tools/layer.tar -t "$image:0"
  check "crane, $scheme: login" crane auth login "$host" -u admin -p "$password" "${insecure[@]}"
  check "crane, $scheme: push an OCI image" crane append "${insecure[@]}" --oci-empty-base -f tools/layer.tar -t "$image:1"
  check "crane, $scheme: push with docker's types" crane append "${insecure[@]}" -f tools/layer.tar -t "$image:docker"
  check "crane, $scheme: tag" crane tag "${insecure[@]}" "$image:1" two
  prints "crane, $scheme: list tags" '^two$' crane ls "${insecure[@]}" "$image"
  check "crane, $scheme: copy to another repository" crane copy "${insecure[@]}" "$image:1" "$image-copy:1"
  check "crane, $scheme: pull" crane pull "${insecure[@]}" "$image:1" tools/pulled.tar
  check "crane, $scheme: push what was pulled" crane push "${insecure[@]}" tools/pulled.tar "$image-pushed:1"
  check "crane, $scheme: validate every layer" crane validate "${insecure[@]}" --remote "$image:1"
  check "crane, $scheme: mutate" crane mutate "${insecure[@]}" -l a=b "$image:1" -t "$image:label"
  check "crane, $scheme: push an index" crane index append "${insecure[@]}" -m "$image:1" -m "$image:label" -t "$image:index"
  check "crane, $scheme: the index is whole" crane validate "${insecure[@]}" --remote "$image:index"
  local digest
  digest=$(crane digest "${insecure[@]}" "$image-pushed:1")
  check "crane, $scheme: delete" crane delete "${insecure[@]}" "$image-pushed@$digest"
  refused "crane, $scheme: what was deleted is unknown" 'MANIFEST_UNKNOWN|404' crane manifest "${insecure[@]}" "$image-pushed@$digest"
  # It asks with HEAD, whose answer has no body to name the project in.
  refused "crane, $scheme: a missing project is refused" '401' crane append "${insecure[@]}" --oci-empty-base -f tools/layer.tar -t "$host/nowhere/app:1"
}

tools_regctl() {
  [ "$scheme" = https ] || regctl registry set --tls=disabled "$host" 2>/dev/null
  check "regctl, $scheme: login" regctl registry login "$host" -u dev -p "$password"
  check "regctl, $scheme: copy out" regctl image copy "$image:1" ocidir://tools/regctl:1
  check "regctl, $scheme: copy in" regctl image copy ocidir://tools/regctl:1 "$image-regctl:1"
  echo '{"packages":1}' >tools/sbom.json
  check "regctl, $scheme: attach an artifact" regctl artifact put --subject "$image:1" -f tools/sbom.json \
    --artifact-type application/spdx+json --file-media-type application/spdx+json
  prints "regctl, $scheme: it is a referrer" 'application/spdx\+json' regctl artifact list "$image:1"
  prints "regctl, $scheme: it comes back" '"packages":1' regctl artifact get --subject "$image:1" --filter-artifact-type application/spdx+json
  check "regctl, $scheme: delete a tag alone" regctl tag delete "$image:two" --host "reg=$host,user=admin,pass=$password$([ "$scheme" = https ] || echo ,tls=disabled)"
  refused "regctl, $scheme: the tag is gone" 'not found|404' regctl manifest head "$image:two"
  check "regctl, $scheme: its image is not" regctl manifest head "$image:1"
}

tools_helm() {
  local chart=chart-$helm where=oci://$host/library/charts
  export HELM_REGISTRY_CONFIG=$work/tools/$helm.json
  mkdir -p tools/charts
  "$helm" create "tools/$chart" >/dev/null 2>&1
  "$helm" package "tools/$chart" -d tools >/dev/null 2>&1
  refused "$helm, $scheme: a wrong password is refused" 'unauthorized|401|denied' "$helm" registry login "$host" -u dev -p wrong "${plain[@]}"
  check "$helm, $scheme: login" "$helm" registry login "$host" -u dev -p "$password" "${plain[@]}"
  check "$helm, $scheme: push a chart" "$helm" push "tools/$chart-0.1.0.tgz" "$where" "${plain[@]}"
  check "$helm, $scheme: pull it" "$helm" pull "$where/$chart" --version 0.1.0 -d tools/charts "${plain[@]}"
  check "$helm, $scheme: it is the same" cmp "tools/$chart-0.1.0.tgz" "tools/charts/$chart-0.1.0.tgz"
  prints "$helm, $scheme: show it" "^name: $chart" "$helm" show chart "$where/$chart" "${plain[@]}"
  if [ "$scheme" = https ]; then
    check "$helm, $scheme: the authority as an option" env -u SSL_CERT_FILE "$helm" show chart "$where/$chart" --ca-file pki/ca.crt
  fi
  check "$helm, $scheme: logout" "$helm" registry logout "$host"
  unset HELM_REGISTRY_CONFIG
}

# Keys of the run's own, and files that say: no transparency log, no public trust root.
cosign_keys() {
  local owner
  for owner in ours theirs; do
    [ -e "cosign/$owner/cosign.key" ] || { mkdir -p "cosign/$owner" && (cd "cosign/$owner" && cosign generate-key-pair >/dev/null 2>&1); }
  done
  cosign signing-config create --out cosign/signing.json 2>/dev/null
  cosign trusted-root create --out cosign/root.json 2>/dev/null
}

tools_cosign() {
  cosign_keys
  local digest sign=(--yes --key cosign/ours/cosign.key --signing-config cosign/signing.json --trusted-root cosign/root.json)
  local verify=(--insecure-ignore-tlog=true --trusted-root cosign/root.json)
  digest=$(crane digest "${insecure[@]}" "$image:1")
  check "cosign, $scheme: sign" cosign sign "${sign[@]}" "${cosign_plain[@]}" "$image@$digest"
  check "cosign, $scheme: verify" cosign verify --key cosign/ours/cosign.pub "${verify[@]}" "${cosign_plain[@]}" "$image@$digest"
  refused "cosign, $scheme: another key does not verify" 'no (matching|valid)|invalid|verif' \
    cosign verify --key cosign/theirs/cosign.pub "${verify[@]}" "${cosign_plain[@]}" "$image@$digest"
  prints "cosign, $scheme: the signature is a referrer" 'dev.sigstore.bundle' \
    curl -sS --cacert pki/ca.crt -u "dev:$password" "$scheme://$host/v2/library/tools/referrers/$digest"
  echo '{"built":"here"}' >tools/predicate.json
  check "cosign, $scheme: attest" cosign attest "${sign[@]}" --predicate tools/predicate.json --type custom "${cosign_plain[@]}" "$image@$digest"
  check "cosign, $scheme: verify the attestation" cosign verify-attestation --key cosign/ours/cosign.pub --type custom "${verify[@]}" "${cosign_plain[@]}" "$image@$digest"
  local index
  index=$(crane digest "${insecure[@]}" "$image:index")
  check "cosign, $scheme: sign an index and what it names" cosign sign --recursive "${sign[@]}" "${cosign_plain[@]}" "$image@$index"
}

tools_cosign2() {
  local digest
  digest=$(crane digest "${insecure[@]}" "$image:docker")
  check "cosign 2, $scheme: sign" cosign2 sign --yes --key cosign/ours/cosign.key --tlog-upload=false "${cosign_plain[@]}" "$image@$digest"
  prints "cosign 2, $scheme: the signature is a tag" "^sha256-${digest#sha256:}[.]sig$" crane ls "${insecure[@]}" "$image"
  check "cosign 2, $scheme: verify" cosign2 verify --key cosign/ours/cosign.pub --insecure-ignore-tlog=true --trusted-root cosign/root.json "${cosign_plain[@]}" "$image@$digest"
}

tools_oras() {
  local artifact=$image-oras copy=()
  [ "$scheme" = https ] || copy=(--from-plain-http --to-plain-http)
  (cd tools && echo data >data.txt)
  check "oras, $scheme: login" oras login "${plain[@]}" -u dev -p "$password" "$host"
  check "oras, $scheme: push" oras push "${plain[@]}" --disable-path-validation --artifact-type application/vnd.example "$artifact:1" tools/data.txt:text/plain
  check "oras, $scheme: attach" oras attach "${plain[@]}" --disable-path-validation --artifact-type application/vnd.example.note "$artifact:1" tools/data.txt:text/plain
  prints "oras, $scheme: discover by the referrers API" 'vnd.example.note' oras discover "${plain[@]}" --distribution-spec v1.1-referrers-api "$artifact:1"
  check "oras, $scheme: pull" oras pull "${plain[@]}" -o tools/oras "$artifact:1"
  check "oras, $scheme: copy with all referrers" oras cp "${copy[@]}" -r "$artifact:1" "$artifact-copy:1"
  prints "oras, $scheme: list tags" '^1$' oras repo tags "${plain[@]}" "$artifact"
}

tools_notation() {
  local digest policy=tools/policy.json
  export NOTATION_USERNAME=dev NOTATION_PASSWORD=$password
  digest=$(crane digest "${insecure[@]}" "$image:1")
  notation cert generate-test --default "seawall-$scheme" >/dev/null 2>&1
  echo "{\"version\":\"1.0\",\"trustPolicies\":[{\"name\":\"all\",\"registryScopes\":[\"*\"],\"signatureVerification\":{\"level\":\"strict\"},
    \"trustStores\":[\"ca:seawall-$scheme\"],\"trustedIdentities\":[\"*\"]}]}" >$policy
  notation policy import --force $policy >/dev/null 2>&1
  check "notation, $scheme: sign" notation sign "${notation_plain[@]}" "$image@$digest"
  prints "notation, $scheme: list" 'sha256' notation ls "${notation_plain[@]}" "$image@$digest"
  check "notation, $scheme: verify" notation verify "${notation_plain[@]}" "$image@$digest"
  unset NOTATION_USERNAME NOTATION_PASSWORD
}

tools_checks
