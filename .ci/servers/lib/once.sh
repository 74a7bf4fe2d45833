# shellcheck shell=bash
# Programs of their own version each: what build.sh says of sets is kept by that file, these are kept by their versions.

# Builds PROGRAM of VERSION into a folder of the cache, if it is not there: one run at a time.
build_once() {
  # shellcheck disable=SC2034 # build_into reads both
  local set=$1 folder=$cache/$1-$2 began=$SECONDS
  if [[ ! -x $folder/$set ]]; then
    mkdir -p "$cache"
    take_lock "$cache/build.lock" 'another run builds servers: waiting for it'
    [[ -x $folder/$set ]] || build_into "$folder"
    exec {lock}>&-
  fi
  touch "$folder"
}
