#!/usr/bin/env bash
# Installs what the tests talk to, where this is root on Debian; elsewhere says what is missing and goes on.
set -euo pipefail
packages=(build-essential curl postgresql pgbouncer docker.io docker-registry podman buildah skopeo crun containernetworking-plugins openssl haproxy nginx-light iptables iproute2 e2fsprogs rsyslog rsyslog-gnutls python3-aiosmtpd faketime ceph-mon ceph-osd radosgw swift-proxy swift-account swift-container swift-object memcached keystone python3-keystonemiddleware redis-server)
# For the libraries that speak to Harbor's API (scripts/prepare-libraries.sh).
command -v go >/dev/null || packages+=(golang-go)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
# For Azurite (scripts/prepare-stores.sh).
command -v npm >/dev/null || packages+=(npm)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "prepare: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "prepare: not root on Debian; tests that need these are left out: ${missing[*]}" >&2
fi
"$(dirname "$0")/prepare-stores.sh"
