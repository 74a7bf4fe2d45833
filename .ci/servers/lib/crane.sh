# shellcheck shell=bash
# crane and skopeo, which push images as we do, for benches.

crane=v0.22.1

prepare_crane() {
  local set=crane began=$SECONDS
  installed skopeo || skip skopeo 'it is not installed'
  crane_program=$cache/crane-$crane/crane
  if [[ ! -x $crane_program ]]; then
    installed go || fail 'crane is built with go, which is not installed'
    mkdir -p "$cache"
    take_lock "$cache/build.lock" 'another run builds servers: waiting for it'
    [[ -x $crane_program ]] || build_into "$cache/crane-$crane"
    exec {lock}>&-
  fi
  touch "$cache/crane-$crane"
  PATH=${crane_program%/*}:$PATH
}

build_crane() {
  build_release "$1" "github.com/google/go-containerregistry/cmd/crane@$crane"
}
