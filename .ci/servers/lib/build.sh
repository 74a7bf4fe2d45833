# shellcheck shell=bash
# Programs that no package has, built once: each set into a folder of the cache that is named by what they are made from.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ecolaura-deploy/servers
kubernetes=$(sed -n 's|^\tk8s.io/kubernetes ||p' "$servers/kubernetes/go.mod")
metrics_server=v0.7.2
kwok=v0.7.0
helm=v4.3.1
pause_image=ecolaura.test/pause:1

# Puts the folder of SET's programs into `built`, and builds them if they are not there: one run at a time.
build() {
  local set=$1 hash began=$SECONDS
  hash=$({ uname -sm && cat "$servers"/lib/build.sh "$servers"/{kubernetes,pause}/*; } | sha256sum)
  built=$cache/$set-${hash:0:12}
  if [[ ! -d $built ]]; then
    command -v go >/dev/null || return
    mkdir -p "$cache"
    take_lock "$cache/build.lock" 'another run builds servers: waiting for it'
    [[ -d $built ]] || build_into "$built"
    exec {lock}>&-
  fi
  touch "$built"
}

# Builds beside it and moves the whole, so that what an interrupted run leaves is never taken for finished.
build_into() {
  rm -rf "$cache"/*.unfinished
  find "$cache" -mindepth 1 -maxdepth 1 -name "$set-*" -mtime +30 -exec rm -rf {} +
  mkdir "$1.unfinished"
  say "building $set (once, kept in $1)"
  "build_${set//-/_}" "$1.unfinished" >"$cache/build.log" 2>&1 || give_up "$set" 'could not be built' "$cache/build.log"
  mv -T "$1.unfinished" "$1" || fail "$1 could not be put in place"
  say "built $set in $((SECONDS - began)) s"
}

build_kubernetes() {
  build_of_kubernetes "$1/etcd" go.etcd.io/etcd/server/v3 &&
    build_of_kubernetes "$1/" k8s.io/kubernetes/cmd/kube{-apiserver,-controller-manager,-scheduler,-proxy,let}
}

build_kubectl() {
  build_of_kubernetes "$1/" k8s.io/kubernetes/cmd/kubectl
}

build_metrics_server() {
  build_release "$1" "sigs.k8s.io/metrics-server/cmd/metrics-server@$metrics_server"
}

build_kwok() {
  build_release "$1" "sigs.k8s.io/kwok/cmd/kwok@$kwok"
}

build_helm() {
  build_release "$1" "helm.sh/helm/v4/cmd/helm@$helm"
}

# Kubernetes compares these versions when its parts talk to each other; a build without them calls itself v0.0.0.
build_of_kubernetes() {
  local out=$1 version=k8s.io/component-base/version minor
  shift
  IFS=. read -r _ minor _ <<<"$kubernetes"
  attended nice env CGO_ENABLED=0 GOWORK=off go build -C "$servers/kubernetes" -trimpath -buildvcs=false -o "$out" \
    -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor" "$@"
}

build_release() {
  attended nice env CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath GOBIN="$1" go install -ldflags '-s -w' "$2"
}

# The image that holds each pod's namespaces, as an archive that containerd imports.
build_pause() {
  attended nice env CGO_ENABLED=0 GOWORK=off go build -C "$servers/pause" -trimpath -buildvcs=false -o "$1/pause" \
    -ldflags '-s -w' . && pack "$1"
}

pack() {
  local layer
  tar -C "$1" --owner=0 --group=0 --numeric-owner -cf "$1/layer.tar" pause || return
  layer=$(sha256sum <"$1/layer.tar")
  cat >"$1/config.json" <<JSON
{"architecture": "$(go env GOARCH)", "os": "linux", "config": {"Entrypoint": ["/pause"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:${layer%% *}"]}}
JSON
  printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]\n' "$pause_image" >"$1/manifest.json"
  tar -C "$1" -cf "$1/pause.tar" manifest.json config.json layer.tar
}
