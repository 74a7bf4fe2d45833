# shellcheck shell=bash
# versitygw on a loopback port: S3 over a folder of the run, with its conditional writes and checksums.

versitygw=v1.8.0
# shellcheck disable=SC2034 # tests log in with these
s3_key=ecolaura s3_secret=a-key-for-tests

prepare_s3() {
  s3_program=$cache/versitygw-$versitygw/versitygw
  if ! installed curl || { [[ ! -x $s3_program ]] && ! installed go; }; then
    with_s3=0
    skip 'S3 server' "$absent is not installed"
    return
  fi
  build_once versitygw "$versitygw"
}

build_versitygw() {
  build_release "$1" "github.com/versity/versitygw/cmd/versitygw@$versitygw"
}

# What objects say of themselves lies beside them: not every file system keeps attributes.
start_s3() {
  mkdir -p "$run/s3/objects" "$run/s3/attributes"
  start s3 env ROOT_ACCESS_KEY="$s3_key" ROOT_SECRET_KEY="$s3_secret" "$s3_program" --quiet --health /health \
    --port "127.0.0.1:$s3_port" --region eu-central-1 posix --sidecar "$run/s3/attributes" "$run/s3/objects"
}

await_s3() {
  await s3 20 curl -sf --noproxy '*' "http://127.0.0.1:$s3_port/health"
}
