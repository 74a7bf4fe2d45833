# shellcheck shell=bash
# A second OCI registry, which wants to be logged in to.

start_login() {
  fill registry-login.yaml >"$run/registry-login.yaml"
  cp "$servers/config/htpasswd" "$run/htpasswd"
  mkdir "$run/registry-login"
  start registry-login docker-registry serve "$run/registry-login.yaml"
}

await_login() {
  await registry-login 20 curl -sf --noproxy '*' -u ecolaura:a-password-for-tests "http://127.0.0.1:$login_port/v2/"
}
