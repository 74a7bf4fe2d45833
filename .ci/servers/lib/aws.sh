# shellcheck shell=bash
# moto on a loopback port, in an environment of Python that is made once and kept beside the programs that are built.

moto=5.2.5
moto_services=server,cloudfront,ec2,ecr,eks,elbv2,rds,s3,secretsmanager

prepare_aws() {
  if ! installed curl python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    with_aws=0
    skip moto "${absent:-python3-venv} is not installed"
    return
  fi
  aws_program=$cache/moto-$moto/bin/moto_server
  if [[ ! -x $cache/moto-$moto/complete ]]; then
    take_lock "$cache/moto.lock" 'another run installs moto: waiting for it'
    [[ -x $cache/moto-$moto/complete ]] || install_moto
    exec {lock}>&-
  fi
  touch "$cache/moto-$moto"
}

# An environment cannot be moved, so the mark of a whole one comes last.
install_moto() {
  local began=$SECONDS
  find "$cache" -mindepth 1 -maxdepth 1 -name 'moto-*' -mtime +30 -exec rm -rf {} +
  rm -rf "$cache/moto-$moto"
  say "installing moto (once, kept in $cache/moto-$moto)"
  {
    attended python3 -m venv "$cache/moto-$moto" &&
      attended nice "$cache/moto-$moto/bin/pip" install --quiet --disable-pip-version-check "moto[$moto_services]==$moto"
  } >"$cache/moto.log" 2>&1 || give_up moto 'could not be installed' "$cache/moto.log"
  install -m 755 /dev/null "$cache/moto-$moto/complete"
  say "installed moto in $((SECONDS - began)) s"
}

start_aws() {
  start moto env -u AWS_CA_BUNDLE "$aws_program" -H 127.0.0.1 -p "$aws_port"
}

await_aws() {
  await moto 60 curl -sf --noproxy '*' "http://127.0.0.1:$aws_port/moto-api/"
}
