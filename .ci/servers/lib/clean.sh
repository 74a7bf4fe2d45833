# shellcheck shell=bash
# Ends a run and takes away all that it made, from nothing but its folder: so that a later run can do it as well. What
# fails here is passed over, and shows in that the folder is still there.

# Ends the runs whose own with-servers is gone: those that had a node only if HOLDS_NODE is 1, for the chains that it would
# take away may be those of another.
clean_abandoned() {
  local folder
  for folder in "$runs"-*; do
    if [[ ! -O $folder ]] || runs "$folder/owner" || { (($1 == 0)) && [[ -e $folder/node ]]; }; then
      continue
    fi
    say "cleaning up after a run that was killed ($folder)"
    clean "$folder" || true
  done
}

clean() {
  local file
  name_all "$1"
  [[ ! -e $run/docker ]] || clean_docker
  for file in "$run"/pids/*; do
    [[ ! -e $file ]] || kill_recorded "$file"
  done
  [[ ! -e $run/node ]] || clean_node
  # What is still mounted may be a folder of somebody else.
  grep -qF " $run/" /proc/self/mountinfo || rm -rf "$run"
}

clean_node() {
  kill_pods
  clean_elsewhere
  unmount
  remove_cgroups
  ! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
  remove_chains iptables
  remove_chains ip6tables
  restore_sysctls
}

# What cannot be told to keep its files in the run's folder: shims their sockets, plugins what they set up for each pod,
# and the kubelet its links and a socket.
clean_elsewhere() {
  local state=$run/containerd/state file
  for file in "$state"/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [[ ! -e $file ]] || rm -f "$(sed 's|^unix://||' "$file")"
  done
  for file in "$state"/io.containerd.grpc.v1.cri/sandboxes/*; do
    rm -f /var/lib/cni/results/*-"${file##*/}"-*
  done
  find /var/log/containers -lname "$run/*" -delete 2>/dev/null
  rm -f /var/lib/kubelet/device-plugins/kubelet.sock
  rmdir /run/containerd/{s,} /var/lib/cni/{results,} /var/log/containers /var/lib/kubelet/{device-plugins,} 2>/dev/null
}

# First the shims, which carry the address of the run's containerd, then whatever is in the run's cgroups.
kill_pods() {
  local pid shims tries
  mapfile -t shims < <(pgrep -f -- "-address $run/containerd/containerd.sock" || true)
  for pid in "${shims[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
  done
  for ((tries = 0; tries < 500; tries++)); do
    pods_run || return 0
    sleep 0.02
  done
}

# Kills what runs in the cgroups, and says whether anything did.
pods_run() {
  local pid ran=1
  for pid in $(cgroup_folders | sed 's|$|/cgroup.procs|' | xargs -r cat 2>/dev/null | sort -u); do
    kill -KILL "$pid" 2>/dev/null && ran=0
  done
  return "$ran"
}

cgroup_folders() {
  find /sys/fs/cgroup -mindepth 1 -depth -type d -path "*/$cluster*" 2>/dev/null
}

remove_cgroups() {
  local folder
  for folder in $(cgroup_folders); do
    rmdir "$folder" 2>/dev/null || { sleep 0.1 && rmdir "$folder"; }
  done
}

unmount() {
  local mount
  awk -v run="$run/" 'index($5, run) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r mount; do
    umount "$mount" 2>/dev/null || umount -l "$mount"
  done
}

# The kubelet and kube-proxy name all their chains so, and no other node runs at the same time.
remove_chains() {
  local table rules
  command -v "$1" >/dev/null || return 0
  for table in filter nat mangle; do
    rules=$("$1-save" -t "$table")
    {
      printf '*%s\n' "$table"
      sed -n 's/^:\(KUBE-[^ ]*\) .*/-F \1/p' <<<"$rules"
      sed -n '/^-A KUBE-/!s/^-A \(.* -j KUBE-.*\)/-D \1/p' <<<"$rules"
      sed -n 's/^:\(KUBE-[^ ]*\) .*/-X \1/p' <<<"$rules"
      printf 'COMMIT\n'
    } | "$1-restore" -w --noflush
  done
}

restore_sysctls() {
  local name value
  while read -r name value; do
    printf '%s' "$value" >"/proc/sys/$name"
  done <"$run/node"
}
