# shellcheck shell=bash
# A real node: containerd, pods on a bridge of their own, the kubelet, and kube-proxy for the addresses of services.

sysctls=(net/ipv4/ip_forward vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

# Before anything of the machine is touched, what undoes it is written down.
prepare_machine() {
  local name
  ! iptables-save | grep -q '^:KUBE-' || fail "another Kubernetes node uses this machine's iptables; --no-node does without one"
  for name in "${sysctls[@]}"; do
    [[ ! -r /proc/sys/$name ]] || printf '%s %s\n' "$name" "$(<"/proc/sys/$name")"
  done >"$run/node"
  make_bridge
  lead_to_apiserver
  make_cgroups
}

# The route keeps what is sent to a service that is gone from leaving the machine, and the chain refuses it: an attempt
# that just got no answer would be remembered by the kernel, and a later connection from the same port would go nowhere too.
make_bridge() {
  ip link add "$bridge" address 02:65:63:6f:00:01 type bridge
  ip address add "$node_ip/24" dev "$bridge"
  ip link set "$bridge" up
  ip route add "$service_cidr" dev "$bridge"
  iptables -N KUBE-NO-SUCH-SERVICE
  iptables -A KUBE-NO-SUCH-SERVICE -d "$service_cidr" -p tcp -j REJECT --reject-with tcp-reset
  iptables -A OUTPUT -j KUBE-NO-SUCH-SERVICE
}

# The API server listens on loopback only, which no endpoint of a service may name: so the bridge, and nothing else, leads to
# it from the address that pods know it by. The kubelet drops what is sent from there to loopback in any other way.
lead_to_apiserver() {
  printf 1 >"/proc/sys/net/ipv4/conf/$bridge/route_localnet"
  iptables -t nat -N KUBE-API-SERVER
  iptables -t nat -A KUBE-API-SERVER -d "$first_service_ip" -p tcp --dport 443 -j DNAT --to "127.0.0.1:$apiserver_port"
  iptables -t nat -A PREROUTING -i "$bridge" -j KUBE-API-SERVER
  iptables -t nat -A OUTPUT -j KUBE-API-SERVER
}

# The folder below which the kubelet puts the cgroups of its pods, in each hierarchy that there is.
make_cgroups() {
  local root file
  for root in $(cgroup_roots); do
    mkdir "$root/$cluster"
    for file in cpuset.cpus cpuset.mems; do
      [[ ! -e $root/cgroup.clone_children || ! -e $root/$file ]] || cat "$root/$file" >"$root/$cluster/$file"
    done
  done
}

# Either one for all controllers, whose use is allowed to folders below, or one for each.
cgroup_roots() {
  local controller
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    for controller in cpuset cpu io memory hugetlb pids; do
      printf '+%s' "$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    done
    printf '/sys/fs/cgroup\n'
  else
    awk '$3 == "cgroup" { print $2 }' /proc/mounts
  fi
}

start_containerd() {
  prepare_machine
  local registry=$run/registries/127.0.0.1:$registry_port
  mkdir -p "$run/containerd" "$run/cni" "$registry"
  fill hosts.toml >"$registry/hosts.toml"
  fill containerd.toml >"$run/containerd.toml"
  fill cni.json >"$run/cni/10-bridge.conflist"
  start containerd containerd --config "$run/containerd.toml"
}

start_node() {
  await containerd 30 containerd_ctl version
  containerd_ctl images import "$pause_archive" >"$run/logs/pause" 2>&1 || give_up pause 'could not be imported'
  fill kubelet.yaml >"$run/kubelet.yaml"
  fill kube-proxy.yaml >"$run/kube-proxy.yaml"
  start kubelet "$programs/kubelet" --config="$run/kubelet.yaml" --kubeconfig="$run/kubelet.kubeconfig" \
    --root-dir="$run/kubelet" --cert-dir="$run/kubelet/pki" --hostname-override="$node" --node-ip="$node_ip"
  start kube-proxy "$programs/kube-proxy" --config="$run/kube-proxy.yaml"
  await apiserver 60 api GET /readyz
  apply /api/v1/namespaces/kube-system/services/kube-dns dns-service.yaml
  start_metrics
}

containerd_ctl() {
  ctr --address "$run/containerd/containerd.sock" --namespace k8s.io "$@"
}

await_node() {
  await kubelet 60 node_ready
  await kube-proxy 60 curl -sf --noproxy '*' "http://127.0.0.1:$proxy_health_port/healthz"
  await_metrics
}

node_ready() {
  api GET "/api/v1/nodes/$node" | tr -d ' \n' | grep -q '"type":"Ready","status":"True"'
}
