# shellcheck shell=bash
# An OCI registry on a loopback port, which keeps its images in the run's folder and lets them be deleted.

start_registry() {
  fill registry.yaml >"$run/registry.yaml"
  mkdir "$run/registry"
  start registry docker-registry serve "$run/registry.yaml"
}

await_registry() {
  await registry 20 curl -sf --noproxy '*' "http://127.0.0.1:$registry_port/v2/"
}
