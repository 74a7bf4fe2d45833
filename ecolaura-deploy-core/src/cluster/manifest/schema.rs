//! The objects that are read, field by field, as Kubernetes 1.34 defines them.

use super::check::{
    Known, Shape,
    Shape::{Any, List, Map, Object, Text, Truth, Whole, WholeOrText},
    ignored, required, used,
};

const SECONDS: Shape = Whole(0, i32::MAX as i128);
const COUNT: Shape = Whole(1, i32::MAX as i128);
const PORT: Shape = Whole(1, 65535);
const TEXTS: Shape = List(&Text);
const TEXT_MAP: Shape = Map(&Text);

const SAME_USER: &str = "the process runs as this program's user with its rights";
const NO_VOLUME: &str = "nothing is mounted; the process sees this machine's files";
const NO_CONTAINMENT: &str = "the process is not confined";
const NO_SCHEDULER: &str = "every pod runs on this machine";
const NO_NAMES: &str = "host names are those of this machine";
const NO_LIMIT: &str = "the process has no limits and no reservations";
const ONE_PROXY: &str = "a Service is one proxy on this machine";

macro_rules! with_metadata {
    ($($rest:expr),* $(,)?) => {
        Object(&[
            required("apiVersion", Text),
            required("kind", Text),
            required("metadata", Object(METADATA)),
            used("status", Any),
            $($rest),*
        ])
    };
}

const METADATA: &[Known] = &[
    required("name", Text),
    used("namespace", Text),
    used("labels", TEXT_MAP),
    used("annotations", TEXT_MAP),
    used("creationTimestamp", Any),
    used("generation", Any),
    used("managedFields", Any),
    used("resourceVersion", Any),
    used("selfLink", Any),
    used("uid", Any),
    ignored("deletionGracePeriodSeconds", "the server sets it"),
    ignored("deletionTimestamp", "the server sets it"),
    ignored("finalizers", "nothing waits for them"),
    ignored("generateName", "every object needs its own name"),
    ignored("ownerReferences", "objects have no owners"),
];

const TEMPLATE_METADATA: &[Known] = &[
    used("labels", TEXT_MAP),
    used("annotations", TEXT_MAP),
    used("creationTimestamp", Any),
    ignored("name", "pods are named after the Deployment"),
    ignored("namespace", "pods are in the Deployment's namespace"),
    ignored("finalizers", "nothing waits for them"),
];

pub(super) const DEPLOYMENT: Shape = with_metadata![required("spec", Object(DEPLOYMENT_SPEC))];

const DEPLOYMENT_SPEC: &[Known] = &[
    used("replicas", Whole(0, 1000)),
    required("selector", Object(SELECTOR)),
    required("template", Object(&[used("metadata", Object(TEMPLATE_METADATA)), required("spec", Object(POD))])),
    used("strategy", Object(STRATEGY)),
    used("minReadySeconds", SECONDS),
    used("progressDeadlineSeconds", COUNT),
    ignored("revisionHistoryLimit", "the cluster keeps its own number of revisions"),
    used("paused", Truth),
];

const SELECTOR: &[Known] = &[used("matchLabels", TEXT_MAP), used("matchExpressions", List(&Any))];

const STRATEGY: &[Known] = &[
    used("type", Text),
    used("rollingUpdate", Object(&[used("maxSurge", WholeOrText), used("maxUnavailable", WholeOrText)])),
];

const POD: &[Known] = &[
    required("containers", List(&Object(CONTAINER))),
    used("initContainers", List(&Any)),
    used("ephemeralContainers", List(&Any)),
    used("terminationGracePeriodSeconds", SECONDS),
    used("restartPolicy", Text),
    ignored("enableServiceLinks", "no variables are made of Services"),
    ignored("imagePullSecrets", "images come from the registry of this run"),
    ignored("activeDeadlineSeconds", "pods run until they are replaced"),
    ignored("affinity", NO_SCHEDULER),
    ignored("automountServiceAccountToken", "there is no service account"),
    ignored("dnsConfig", NO_NAMES),
    ignored("dnsPolicy", NO_NAMES),
    ignored("hostAliases", NO_NAMES),
    ignored("hostIPC", NO_CONTAINMENT),
    ignored("hostNetwork", "each pod has its own loopback address"),
    ignored("hostPID", NO_CONTAINMENT),
    ignored("hostUsers", SAME_USER),
    ignored("hostname", NO_NAMES),
    ignored("hostnameOverride", NO_NAMES),
    ignored("nodeName", NO_SCHEDULER),
    ignored("nodeSelector", NO_SCHEDULER),
    ignored("os", NO_SCHEDULER),
    ignored("overhead", NO_LIMIT),
    ignored("preemptionPolicy", NO_SCHEDULER),
    ignored("priority", NO_SCHEDULER),
    ignored("priorityClassName", NO_SCHEDULER),
    ignored("readinessGates", "only the readiness probe decides"),
    ignored("resourceClaims", NO_LIMIT),
    ignored("resources", NO_LIMIT),
    ignored("runtimeClassName", NO_CONTAINMENT),
    ignored("schedulerName", NO_SCHEDULER),
    ignored("schedulingGates", NO_SCHEDULER),
    ignored("securityContext", SAME_USER),
    ignored("serviceAccount", "there is no service account"),
    ignored("serviceAccountName", "there is no service account"),
    ignored("setHostnameAsFQDN", NO_NAMES),
    ignored("shareProcessNamespace", NO_CONTAINMENT),
    ignored("subdomain", NO_NAMES),
    ignored("tolerations", NO_SCHEDULER),
    ignored("topologySpreadConstraints", NO_SCHEDULER),
    ignored("volumes", NO_VOLUME),
];

const CONTAINER: &[Known] = &[
    required("name", Text),
    required("image", Text),
    used("command", TEXTS),
    used("args", TEXTS),
    used("env", List(&Object(ENV))),
    used("envFrom", List(&Object(ENV_FROM))),
    used("workingDir", Text),
    used("ports", List(&Object(CONTAINER_PORT))),
    used("readinessProbe", Object(PROBE)),
    used("livenessProbe", Object(PROBE)),
    used("startupProbe", Object(PROBE)),
    used("lifecycle", Object(LIFECYCLE)),
    // Images are named by digest: pulling again gives the same.
    used("imagePullPolicy", Text),
    ignored("resizePolicy", NO_LIMIT),
    ignored("resources", NO_LIMIT),
    ignored("restartPolicy", "containers are always restarted"),
    ignored("restartPolicyRules", "containers are always restarted"),
    ignored("securityContext", SAME_USER),
    ignored("stdin", "standard input is empty"),
    ignored("stdinOnce", "standard input is empty"),
    ignored("terminationMessagePath", "the last lines of the log stand for it"),
    ignored("terminationMessagePolicy", "the last lines of the log stand for it"),
    ignored("tty", "there is no terminal"),
    ignored("volumeDevices", NO_VOLUME),
    // Each mount is named by its path where the container is read.
    used("volumeMounts", List(&Any)),
];

const CONTAINER_PORT: &[Known] = &[
    used("name", Text),
    required("containerPort", PORT),
    used("protocol", Text),
    ignored("hostIP", "a port is opened on the pod's address only"),
    ignored("hostPort", "a port is opened on the pod's address only"),
];

const ENV: &[Known] = &[required("name", Text), used("value", Text), used("valueFrom", Object(VALUE_FROM))];

const VALUE_FROM: &[Known] = &[
    used("configMapKeyRef", Object(KEY_REF)),
    used("secretKeyRef", Object(KEY_REF)),
    used("fieldRef", Object(&[required("fieldPath", Text), used("apiVersion", Text)])),
    used("resourceFieldRef", Any),
    used("fileKeyRef", Any),
];

const KEY_REF: &[Known] = &[required("name", Text), required("key", Text), used("optional", Truth)];

const ENV_FROM: &[Known] =
    &[used("prefix", Text), used("configMapRef", Object(OBJECT_REF)), used("secretRef", Object(OBJECT_REF))];

const OBJECT_REF: &[Known] = &[required("name", Text), used("optional", Truth)];

const PROBE: &[Known] = &[
    used("httpGet", Object(HTTP_GET)),
    used("tcpSocket", Object(TCP_SOCKET)),
    used("exec", Object(EXEC)),
    used("grpc", Any),
    used("initialDelaySeconds", SECONDS),
    used("periodSeconds", COUNT),
    used("timeoutSeconds", COUNT),
    used("failureThreshold", COUNT),
    used("successThreshold", COUNT),
    ignored("terminationGracePeriodSeconds", "the pod's own grace period holds"),
];

const HTTP_GET: &[Known] = &[
    used("path", Text),
    required("port", WholeOrText),
    used("scheme", Text),
    used("httpHeaders", List(&Object(&[required("name", Text), required("value", Text)]))),
    ignored("host", "the pod's own address is asked"),
];

const TCP_SOCKET: &[Known] = &[required("port", WholeOrText), ignored("host", "the pod's own address is asked")];

const EXEC: &[Known] = &[required("command", TEXTS)];

const LIFECYCLE: &[Known] = &[
    used("preStop", Object(PRE_STOP)),
    ignored("postStart", "nothing runs beside the process when it starts"),
    ignored("stopSignal", "a process is ended with SIGTERM"),
];

const PRE_STOP: &[Known] = &[
    used("sleep", Object(&[required("seconds", SECONDS)])),
    used("exec", Object(EXEC)),
    used("httpGet", Object(HTTP_GET)),
    ignored("tcpSocket", "Kubernetes itself does nothing with it"),
];

pub(super) const SERVICE: Shape = with_metadata![required("spec", Object(SERVICE_SPEC))];

const SERVICE_SPEC: &[Known] = &[
    used("selector", TEXT_MAP),
    used("ports", List(&Object(SERVICE_PORT))),
    used("type", Text),
    used("clusterIP", Text),
    ignored("allocateLoadBalancerNodePorts", ONE_PROXY),
    ignored("clusterIPs", ONE_PROXY),
    ignored("externalIPs", ONE_PROXY),
    ignored("externalName", ONE_PROXY),
    ignored("externalTrafficPolicy", ONE_PROXY),
    ignored("healthCheckNodePort", ONE_PROXY),
    ignored("internalTrafficPolicy", ONE_PROXY),
    ignored("ipFamilies", "addresses are IPv4"),
    ignored("ipFamilyPolicy", "addresses are IPv4"),
    ignored("loadBalancerClass", ONE_PROXY),
    ignored("loadBalancerIP", ONE_PROXY),
    ignored("loadBalancerSourceRanges", ONE_PROXY),
    ignored("publishNotReadyAddresses", "only ready pods get requests"),
    ignored("sessionAffinity", "any ready pod gets any request"),
    ignored("sessionAffinityConfig", "any ready pod gets any request"),
    ignored("trafficDistribution", "any ready pod gets any request"),
];

const SERVICE_PORT: &[Known] = &[
    used("name", Text),
    required("port", PORT),
    used("targetPort", WholeOrText),
    used("protocol", Text),
    used("appProtocol", Text),
    ignored("nodePort", "the Service's own port is opened"),
];

pub(super) const CONFIG_MAP: Shape = with_metadata![
    used("data", TEXT_MAP),
    ignored("immutable", "a change is not refused"),
    ignored("binaryData", "only texts can become environment variables"),
];

pub(super) const SECRET: Shape = with_metadata![
    used("data", TEXT_MAP),
    used("stringData", TEXT_MAP),
    used("type", Text),
    ignored("immutable", "a change is not refused"),
];

pub(super) const NAMESPACE: Shape = with_metadata![used("spec", Any)];
