# What is pushed: images made by hand, small and large.

oci=application/vnd.oci.image

# A program that runs in an empty container, and says that it did.
prepare_content() {
  mkdir content
  echo 'int puts(const char *); int main(void) { puts("hello from the registry"); return 0; }' >content/hello.c
  cc -static -o content/hello content/hello.c 2>"$work/said" || fail "a static program" "cc -static"
}

# fresh DIR: a small root file system that no run before had, for a layer of its own.
fresh() {
  mkdir -p "$1"
  cp content/hello "$1/hello"
  head -c 60000 /dev/urandom >"$1/noise"
}

# small_layout DIR ARCHITECTURE: an image of one small layer as a directory that skopeo copies.
small_layout() {
  fresh layer
  tar -C layer -cf layer.tar .
  local unpacked
  unpacked=$(digest_of layer.tar)
  gzip -f layer.tar
  layout "$1" "$2" layer.tar.gz "$unpacked"
}

# layout DIR ARCHITECTURE LAYER UNPACKED: moves the layer's file into it; the digest that it has unpacked is told.
layout() {
  mkdir "$1"
  local layer config size
  layer=$(digest_of "$3")
  size=$(stat -c %s "$3")
  mv "$3" "$1/$layer"
  printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/hello"]},"history":[{"created":"2026-01-01T00:00:00Z"}],"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$2" "$4" >config.json
  config=$(digest_of config.json)
  cat >"$1/manifest.json" <<END
{"schemaVersion":2,"mediaType":"$oci.manifest.v1+json",
 "config":{"mediaType":"$oci.config.v1+json","digest":"sha256:$config","size":$(stat -c %s config.json)},
 "layers":[{"mediaType":"$oci.layer.v1.tar+gzip","digest":"sha256:$layer","size":$size}]}
END
  mv config.json "$1/$config"
  echo 'Directory Transport Version: 1.1' >"$1/version"
}

# The processor's own instructions for it, where openssl is there, count with 2 GiB.
digest_of() {
  { openssl dgst -sha256 -r "$1" 2>/dev/null || sha256sum "$1"; } | cut -d ' ' -f 1
}
