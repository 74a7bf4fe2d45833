# shellcheck shell=bash
# One run: what it can have, the order in which servers start, and what COMMAND is told of them.

with_registry=1 with_aws=1 with_s3=1 with_docker=1 with_cluster=1 with_node=1 with_peers=0 with_minio=0
((EUID)) && locks_folder=$cache || locks_folder=/run/lock/ecolaura-deploy

# Installs and builds all that will be started.
prepare() {
  if [[ $(uname -s) != Linux ]]; then
    with_registry=0 with_aws=0 with_s3=0 with_docker=0 with_cluster=0 with_node=0 with_minio=0
    skip 'all servers' 'they run on Linux only'
    return
  fi
  if ((with_node && EUID)); then
    with_node=0
    skip 'node and metrics' 'they need root'
  fi
  install_packages
  ((!with_registry)) || prepare_registry
  ((!with_aws)) || prepare_aws
  ((!with_s3)) || prepare_s3
  ((!with_minio)) || prepare_minio
  ((!with_docker)) || prepare_docker
  ((!with_cluster)) || prepare_cluster
  ((!with_node)) || prepare_programs_of_node
  ((!with_peers)) || prepare_peers
}

prepare_registry() {
  installed curl docker-registry && return
  with_registry=0
  skip registry "$absent is not installed"
}

prepare_cluster() {
  if ! installed curl openssl || ! { build kubernetes && programs=$built; }; then
    with_cluster=0 with_node=0
    skip 'Kubernetes cluster' "${absent:-go} is not installed"
  fi
}

prepare_programs_of_node() {
  if ! installed "${!node_package_of[@]}" "$cni_plugins/bridge"; then
    with_node=0
    skip 'node and metrics' "$absent is not installed"
    return
  fi
  build metrics-server && metrics_program=$built/metrics-server
  build pause && pause_archive=$built/pause.tar
}

# Whether all PROGRAMS are there; else one that is not is left in `absent`.
installed() {
  for absent in "$@"; do
    command -v "$absent" >/dev/null || return
  done
  absent=
}

start_all() {
  local began took
  begin
  began=${EPOCHREALTIME/[.,]/}
  choose_networks
  ((!with_registry)) || { start_registry && start_login; }
  ((!with_aws)) || start_aws
  ((!with_s3)) || start_s3
  ((!with_minio)) || start_minio
  ((!with_docker)) || start_docker
  ((!with_node)) || start_containerd
  ((!with_cluster)) || start_control_plane
  ((!with_node)) || start_node
  ((!with_registry)) || { await_registry && await_login; }
  ((!with_aws)) || await_aws
  ((!with_s3)) || await_s3
  ((!with_minio)) || await_minio
  ((!with_docker)) || await_docker
  ((!with_cluster)) || await_control_plane
  ((!with_node)) || await_node
  tell
  took=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
  say "up in $((took / 10)).$((took % 10)) s: $(summary); logs in $run/logs"
}

# Takes the node, of which a machine has one at a time because the chains of kube-proxy have fixed names, cleans up after
# runs that were killed, and takes a folder.
begin() {
  local node_lock holds_node=1
  if ((with_node)); then
    take_lock "$locks_folder/node" 'another run has the node of this machine: waiting for it'
  else
    try_lock "$locks_folder/node" || holds_node=0
  fi
  node_lock=$lock
  take_lock "$locks_folder/runs" 'another run starts or cleans up: waiting for it'
  clean_abandoned "$holds_node"
  claim
  exec {lock}>&-
  ((with_node)) || exec {node_lock}>&-
}

summary() {
  local parts=()
  ((!with_registry)) || parts+=(registry)
  ((!with_aws)) || parts+=("moto $moto")
  ((!with_s3)) || parts+=("versitygw $versitygw")
  ((!with_minio)) || parts+=(MinIO)
  ((!with_docker)) || parts+=('Docker Engine')
  ((!with_cluster)) || parts+=("Kubernetes $kubernetes")
  ((!with_node)) || parts+=("node $node" metrics)
  ((${#parts[@]})) || parts=(nothing)
  printf '%s, ' "${parts[@]}" | sed 's/, $//'
}

tell() {
  unset ECOLAURA_TEST_{REGISTRY,REGISTRY_LOGIN,AWS,S3,MINIO,DOCKER,KUBECONFIG,NODE,APISERVER_PID,RESTART_APISERVER}
  ((!with_registry)) || export ECOLAURA_TEST_REGISTRY=127.0.0.1:$registry_port ECOLAURA_TEST_REGISTRY_LOGIN=127.0.0.1:$login_port
  ((!with_aws)) || export ECOLAURA_TEST_AWS=http://127.0.0.1:$aws_port
  ((!with_s3)) || export ECOLAURA_TEST_S3=http://127.0.0.1:$s3_port
  ((!with_minio)) || export ECOLAURA_TEST_MINIO=http://127.0.0.1:$minio_port
  ((!with_docker)) || export ECOLAURA_TEST_DOCKER=$run/docker/socket
  ((!with_cluster)) || tell_of_cluster
  ((!with_node)) || export ECOLAURA_TEST_NODE=$node
}

tell_of_cluster() {
  printf '#!/bin/sh\nexec %q %q "$@"\n' "$servers/restart-apiserver" "$run" >"$run/restart-apiserver"
  chmod +x "$run/restart-apiserver"
  read -r ECOLAURA_TEST_APISERVER_PID _ <"$run/pids/apiserver"
  export ECOLAURA_TEST_APISERVER_PID ECOLAURA_TEST_KUBECONFIG=$run/admin.kubeconfig
  export ECOLAURA_TEST_RESTART_APISERVER=$run/restart-apiserver
}

# Whatever happened: ends all and keeps the status, unless something could not be taken away.
stop() {
  local status=$?
  trap '' INT TERM HUP
  [[ -n ${run:-} ]] || exit "$status"
  clean "$run" || true
  if [[ -e $run ]]; then
    say "could not clean up all of $run"
    ((status)) || status=1
  fi
  exit "$status"
}
