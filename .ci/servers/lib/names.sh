# shellcheck shell=bash
# All names and ports of a run follow from its folder, whose number is the first of 16 ports that are the run's.

runs=/tmp/ecolaura-servers
node=ecolaura-node

# shellcheck disable=SC2034 # some are used by templates alone
name_all() {
  local first=${1##*-}
  run=$1 cluster=ecolaura-$first bridge=eco$first
  registry_port=$first etcd_port=$((first + 1)) etcd_peer_port=$((first + 2)) apiserver_port=$((first + 3))
  controller_manager_port=$((first + 4)) scheduler_port=$((first + 5)) kubelet_port=$((first + 6))
  kubelet_health_port=$((first + 7)) proxy_health_port=$((first + 8)) proxy_metrics_port=$((first + 9))
  metrics_port=$((first + 10)) aws_port=$((first + 11)) s3_port=$((first + 12)) login_port=$((first + 13))
  minio_port=$((first + 14))
}

# Takes a number that no other run has and whose ports nobody listens on: making the folder is what takes it.
claim() {
  local first tries
  for ((tries = 0; tries < 200; tries++)); do
    first=$((20000 + 16 * (RANDOM % 600)))
    listening "$first" || ! mkdir -m 700 "$runs-$first" 2>/dev/null || break
  done
  ((tries < 200)) || fail 'found no 16 free ports between 20000 and 29600'
  printf '%s %s\n' $$ "$(started $$)" >"$runs-$first/owner"
  name_all "$runs-$first"
  mkdir "$run"/{commands,logs,pids}
}

# Whether anybody listens on one of the 16 ports from FIRST on, which differ in their last hexadecimal digit.
listening() {
  local digits
  printf -v digits %04X "$1"
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -Eq "^ *[0-9]+: [0-9A-F]+:${digits%?}[0-9A-F] [0-9A-F]+:0000 0A "
}

# Networks for services and pods that this machine has no route to but the default one.
# shellcheck disable=SC2034 # some are used by templates alone
choose_networks() {
  service_cidr=$(free_network 10.{96..111}.0.0/16)
  pod_cidr=$(free_network 10.244.{0..255}.0/24)
  first_service_ip=${service_cidr%.*}.1 dns_ip=${service_cidr%.*}.10
  node_ip=${pod_cidr%.*}.1
}

free_network() {
  local network
  for network in "$@"; do
    if ! command -v ip >/dev/null || ! { ip -4 route show root "$network" && ip -4 route show match "$network"; } |
      grep -qv '^default'; then
      printf '%s\n' "$network"
      return
    fi
  done
  fail "this machine has routes to all of $*"
}
