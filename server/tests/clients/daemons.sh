# Daemons that clients speak to, private to this run. They end with its namespaces.

# start_docker: dockerd without any network of its own. Fails where it is left out.
start_docker() {
  [ -z "${docker_state:-}" ] || return "$docker_state"
  docker_state=1
  has docker dockerd || return 1
  [ "$ROOT" = yes ] || { leave_out dockerd "runs as root only"; return 1; }
  export DOCKER_HOST=unix:///run/docker-test.sock DOCKER_CONFIG=$work/docker-config
  mkdir -p /etc/docker
  echo "{ \"insecure-registries\": [\"$name:8080\"] }" >/etc/docker/daemon.json
  local driver
  for driver in overlay2 vfs; do
    dockerd --data-root "$work/docker" --exec-root /run/docker-test -p /run/docker-test.pid -H "$DOCKER_HOST" \
      --storage-driver "$driver" --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
      --cgroup-parent "/${work##*/}" >"$work/dockerd.log" 2>&1 </dev/null &
    if wait_for 30 docker version; then
      docker_state=0
      echo "      $(docker --version), daemon $(docker version --format '{{.Server.Version}}'), $driver"
      return 0
    fi
    kill -KILL $! 2>/dev/null
  done
  tail -n 20 "$work/dockerd.log"
  leave_out dockerd "does not start on this machine"
  return 1
}

# start_containerd
start_containerd() {
  [ -z "${containerd_state:-}" ] || return "$containerd_state"
  containerd_state=1
  has containerd ctr || return 1
  [ "$ROOT" = yes ] || { leave_out containerd "runs as root only"; return 1; }
  cat >"$work/containerd.toml" <<END
version = 2
root = "$work/containerd"
state = "/run/containerd-test"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd-test.sock"
END
  export CONTAINERD_ADDRESS=/run/containerd-test.sock
  containerd --config "$work/containerd.toml" >"$work/containerd.log" 2>&1 </dev/null &
  if ! wait_for 30 ctr version; then
    tail -n 20 "$work/containerd.log"
    leave_out containerd "does not start on this machine"
    return 1
  fi
  containerd_state=0
  echo "      $(ctr --version)"
}

# containerd_host HOST[:PORT] LINE: what containerd is told of a registry.
containerd_host() {
  mkdir -p "$work/certs.d/$1"
  cat >"$work/certs.d/$1/hosts.toml" <<END
server = "https://$1"
[host."https://$1"]
  ca = "$work/pki/ca.crt"
  $2
END
}

# prepare_podman: storage and defaults for podman, buildah and skopeo in our own /etc.
prepare_podman() {
  [ -z "${podman_prepared:-}" ] || return 0
  podman_prepared=yes
  export BUILDAH_ISOLATION=chroot
  mkdir -p "$work/containers"
  printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "/run/containers/storage"\n' \
    "$([ "$ROOT" = yes ] && echo overlay || echo vfs)" "$work/containers" >/etc/containers/storage.conf
  echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json
  # Limits that need not be raised, which some machines do not allow, and a runtime that knows every kind of control groups.
  cat >/etc/containers/containers.conf <<END
[containers]
netns = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "$(basename "$(command -v runc || command -v crun)")"
END
}
