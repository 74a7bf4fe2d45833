# shellcheck shell=bash
# A Kubernetes control plane on loopback ports: etcd, the API server, the controller manager and the scheduler.

# The controller manager may ask often: as it is set by default, it takes five seconds only to fetch its own accounts.
start_control_plane() {
  local pki=$run/pki
  make_certs
  start_etcd
  start_apiserver
  start controller-manager "$programs/kube-controller-manager" --kubeconfig="$run/controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$controller_manager_port" --cert-dir="$run/controller-manager" \
    --leader-elect=false --use-service-account-credentials=true --kube-api-qps=500 --kube-api-burst=1000 \
    --flex-volume-plugin-dir="$run/volume-plugins" \
    --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-accounts.key" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
  start scheduler "$programs/kube-scheduler" --kubeconfig="$run/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$scheduler_port" --cert-dir="$run/scheduler" --leader-elect=false
}

# Without fsync: what it holds is thrown away with the run.
start_etcd() {
  local client=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
  start etcd "$programs/etcd" --data-dir="$run/etcd" --unsafe-no-fsync --logger=zap --log-level=warn \
    --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer"
}

# It speaks to kubelets with the administrator's certificate, and for users to aggregated APIs with that of the front proxy.
start_apiserver() {
  start apiserver "$programs/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" \
    --bind-address=127.0.0.1 --secure-port="$apiserver_port" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --advertise-address="$node_ip" --endpoint-reconciler-type=none --service-cluster-ip-range="$service_cidr" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/service-accounts.pub" \
    --service-account-signing-key-file="$pki/service-accounts.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
    --requestheader-username-headers=X-Remote-User --proxy-client-cert-file="$pki/front-proxy.crt" \
    --proxy-client-key-file="$pki/front-proxy.key" --enable-aggregator-routing=true
}

# Pods can be made once the controller manager has given the default namespace its service account.
await_control_plane() {
  await apiserver 60 api GET /readyz
  await controller-manager 60 api GET /api/v1/namespaces/default/serviceaccounts/default
  await scheduler 60 healthy "$scheduler_port"
}

# Calls the API server as administrator: METHOD PATH [FILE of YAML that is applied].
api() {
  curl -sS --fail-with-body --max-time 10 --noproxy '*' --cacert "$run/pki/ca.crt" --cert "$run/pki/admin.crt" \
    --key "$run/pki/admin.key" -X "$1" ${3:+-H 'Content-Type: application/apply-patch+yaml' --data-binary "@$3"} \
    "https://127.0.0.1:$apiserver_port$2"
}

# Applies TEMPLATE as the object at PATH.
apply() {
  fill "$2" >"$run/$2"
  api PATCH "$1?fieldManager=with-servers&force=true" "$run/$2" >"$run/logs/apply-$2" || give_up "apply-$2" 'was refused'
}

healthy() {
  curl -skf --max-time 2 --noproxy '*' "https://127.0.0.1:$1/healthz"
}
