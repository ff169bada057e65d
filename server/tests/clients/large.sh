# A layer of 2 GiB, in and out.

large_checks() {
  direct
  has skopeo || return
  prepare_podman
  local room patience=300 image=$local/library/large
  room=$(df --output=avail -BG "$work" | tail -n 1 | tr -dc 0-9)
  [ "$room" -ge 12 ] || { leave_out large "a layer of 2 GiB needs 12 GiB of free disk, here are $room"; return; }
  # Compressed as far as skopeo looks, and a hole for the rest: it costs no disk and no time to make.
  { printf '\x1f\x8b\x08'; head -c 1000 /dev/urandom; } >large.tar.gz
  truncate -s 2G large.tar.gz
  # Nobody unpacks it.
  layout large amd64 large.tar.gz "$(printf '0%.0s' {1..64})"
  local began=$SECONDS
  check "large: push a layer of 2 GiB" skopeo copy --dest-tls-verify=false --dest-creds "dev:$password" dir:large "docker://$image:1"
  echo "      in $((SECONDS - began)) s"
  prints "large: the server needed little memory for it" '^yes$' large_memory VmHWM
  began=$SECONDS
  check "large: pull it" skopeo copy --src-tls-verify=false "docker://$image:1" dir:large-back
  echo "      in $((SECONDS - began)) s"
  check "large: the same bytes came back" large_is_whole
  # Without the pages of the mapped file, which are the kernel's to take back.
  prints "large: nor for that" '^yes$' large_memory RssAnon
  rm -rf large large-back
}

# The files are named by their digest.
large_is_whole() {
  local file
  for file in large-back/*; do
    case ${file##*/} in
      manifest.json|version) cmp "$file" "large/${file##*/}" || return 1 ;;
      *) [ "$(digest_of "$file")" = "${file##*/}" ] || return 1 ;;
    esac
  done
  [ "$(du -b large-back | cut -f 1)" -gt 2147483648 ]
}

# large_memory FIELD: of the server's /proc/PID/status. The peak without the pages of the program itself, of which a debug build has a hundred MiB.
large_memory() {
  local kib
  kib=$(awk -v field="$1:" '$1 == field { kib += $2 } field == "VmHWM:" && $1 == "RssFile:" { kib -= $2 } END { print kib }' "/proc/$registry_process/status")
  echo "$1 is $((kib / 1024)) MiB"
  [ "$kib" -lt $((96 * 1024)) ] && echo yes
}

large_checks
