# shellcheck shell=bash
# What comes from packages: a program for each, and the package of Debian and its kin that brings it.

declare -A package_of=([curl]=curl [openssl]=openssl [docker-registry]=docker-registry)
declare -A node_package_of=([containerd]=containerd [ctr]=containerd [runc]=runc [ip]=iproute2 [iptables]=iptables)
declare -A docker_package_of=([dockerd]=docker.io [docker]=docker.io [containerd]=containerd [runc]=runc [busybox]=busybox-static)
declare -A peer_package_of=([rclone]=rclone [skopeo]=skopeo)
cni_plugins=/usr/lib/cni

# Installs what is missing, where that can be done.
install_packages() {
  local names log
  mapfile -t names < <(missing_packages | sort -u)
  [[ ${#names[@]} != 0 && $EUID == 0 ]] && command -v apt-get >/dev/null || return 0
  say "installing ${names[*]}"
  log=$(mktemp)
  if ! { apt_get install "${names[@]}" || { apt_get update && apt_get install "${names[@]}"; }; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
  fi
  rm "$log"
}

missing_packages() {
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" >/dev/null || printf '%s\n' "${package_of[$program]}"
  done
  # Debian has a python3 that cannot make environments; this package has the rest of it.
  ((!with_aws)) || python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
  if ((with_docker)); then
    for program in "${!docker_package_of[@]}"; do
      command -v "$program" >/dev/null || printf '%s\n' "${docker_package_of[$program]}"
    done
  fi
  if ((with_peers)); then
    for program in "${!peer_package_of[@]}"; do
      command -v "$program" >/dev/null || printf '%s\n' "${peer_package_of[$program]}"
    done
  fi
  ((with_node)) || return 0
  for program in "${!node_package_of[@]}"; do
    command -v "$program" >/dev/null || printf '%s\n' "${node_package_of[$program]}"
  done
  [[ -x $cni_plugins/bridge ]] || printf 'containernetworking-plugins\n'
}

apt_get() {
  attended env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120 --no-install-recommends "$@"
}
