# shellcheck shell=bash
# A Docker Engine with BuildKit, on a socket and in folders of the run, without a network for what it builds.

prepare_docker() {
  if ((EUID)); then
    with_docker=0
    skip 'Docker Engine' 'it needs root'
  elif ! installed curl "${!docker_package_of[@]}"; then
    with_docker=0
    skip 'Docker Engine' "$absent is not installed"
  fi
}

# It starts a containerd of its own, whose folders are in the run's too.
start_docker() {
  mkdir "$run/docker"
  printf '{}\n' >"$run/docker/config.json"
  start docker dockerd --config-file "$run/docker/config.json" --data-root "$run/docker/data" \
    --exec-root "$run/docker/exec" --pidfile "$run/docker/pid" --host "unix://$run/docker/socket" --log-level warn \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
}

await_docker() {
  await docker 60 curl -sf --unix-socket "$run/docker/socket" http://docker/_ping
}

# Asked to end, it ends the steps of builds and its containerd, which otherwise outlive it.
clean_docker() {
  local pid tries
  if runs "$run/pids/docker"; then
    read -r pid _ <"$run/pids/docker"
    kill -TERM "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 250; tries++)); do
      runs "$run/pids/docker" || break
      sleep 0.02
    done
    kill_recorded "$run/pids/docker"
  fi
  for pid in $(pgrep -f -- "$run/docker/exec" || true); do
    kill -KILL "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  done
  unmount
}
