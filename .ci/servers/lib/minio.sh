# shellcheck shell=bash
# MinIO on a loopback port: another S3 server, beside versitygw, for tests that have time.

# Of its last release as source.
minio=v0.0.0-20260212201848-7aac2a2c5b7c

prepare_minio() {
  minio_program=$cache/minio-$minio/minio
  if ! installed curl || { [[ ! -x $minio_program ]] && ! installed go; }; then
    with_minio=0
    skip MinIO "$absent is not installed"
    return
  fi
  build_once minio "$minio"
}

build_minio() {
  build_release "$1" "github.com/minio/minio@$minio"
}

start_minio() {
  mkdir -p "$run/minio/objects" "$run/minio/certs"
  start minio env -u AWS_CA_BUNDLE HOME="$run/minio" MINIO_ROOT_USER="$s3_key" MINIO_ROOT_PASSWORD="$s3_secret" \
    MINIO_SITE_REGION=eu-central-1 MINIO_BROWSER=off MINIO_UPDATE=off "$minio_program" --quiet \
    --certs-dir "$run/minio/certs" server --address "127.0.0.1:$minio_port" "$run/minio/objects"
}

await_minio() {
  await minio 60 curl -sf --noproxy '*' "http://127.0.0.1:$minio_port/minio/health/ready"
}
