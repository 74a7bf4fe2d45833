# shellcheck shell=bash
# metrics-server beside the node, and the API through which `kubectl top` and autoscalers ask for its figures.

start_metrics() {
  start metrics-server "$metrics_program" --kubeconfig="$run/admin.kubeconfig" \
    --authentication-kubeconfig="$run/admin.kubeconfig" --authorization-kubeconfig="$run/admin.kubeconfig" \
    --bind-address="$node_ip" --secure-port="$metrics_port" --cert-dir="$run/metrics-server" \
    --kubelet-insecure-tls --kubelet-preferred-address-types=InternalIP --kubelet-use-node-status-port \
    --kubelet-request-timeout=5s --metric-resolution=10s
  apply /api/v1/namespaces/kube-system/services/metrics-server metrics-service.yaml
  apply /apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/metrics-server metrics-endpoints.yaml
  apply /apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io metrics-api.yaml
}

# Until it is served, namespaces cannot be deleted: all that is in them must be found first. First figures come later.
await_metrics() {
  await metrics-server 60 api GET /apis/metrics.k8s.io/v1beta1
}
