# shellcheck shell=bash
# Certificates and kubeconfigs of one cluster, under `$run/pki` and `$run/*.kubeconfig`.

make_certs() {
  local pki=$run/pki
  mkdir "$pki"
  authority ca
  authority front-proxy-ca
  certificate ca apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$first_service_ip,DNS:kubernetes.default.svc,DNS:localhost"
  certificate ca admin /O=system:masters/CN=admin
  certificate ca controller-manager /CN=system:kube-controller-manager
  certificate ca scheduler /CN=system:kube-scheduler
  certificate ca kube-proxy /CN=system:kube-proxy
  certificate ca kubelet "/O=system:nodes/CN=system:node:$node" "IP:$node_ip"
  certificate front-proxy-ca front-proxy /CN=front-proxy
  openssl genrsa -out "$pki/service-accounts.key" 2048 2>/dev/null
  openssl rsa -in "$pki/service-accounts.key" -pubout -out "$pki/service-accounts.pub" 2>/dev/null
  local name
  for name in admin controller-manager scheduler kubelet kube-proxy; do
    (umask 077 && kubeconfig "$name" >"$run/$name.kubeconfig")
  done
}

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
    -addext keyUsage=critical,keyCertSign,digitalSignature -keyout "$pki/$1.key" -out "$pki/$1.crt" 2>/dev/null
}

# A certificate of AUTHORITY for both sides of a connection: NAME, SUBJECT, and the addresses that it answers at.
certificate() {
  openssl req -x509 -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj "$3" -addext basicConstraints=critical,CA:false -addext extendedKeyUsage=serverAuth,clientAuth \
    ${4:+-addext "subjectAltName=$4"} -keyout "$pki/$2.key" -out "$pki/$2.crt" 2>/dev/null
}

kubeconfig() {
  cat <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: $1}}]
clusters:
- name: test
  cluster: {server: "https://127.0.0.1:$apiserver_port", certificate-authority-data: $(base64 -w 0 "$pki/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w 0 "$pki/$1.crt"), client-key-data: $(base64 -w 0 "$pki/$1.key")}
YAML
}
