//! A real API server that lets in whom EKS would: who has a token, which is a question to STS that was signed and not
//! sent. A relay before the server sends it, as the authenticator of EKS does.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ecolaura_deploy_aws::{Account, Scope, eks::EksCluster};
use ecolaura_deploy_core::{
    Context, ErrorKind, Result, Secret,
    backend::{ClusterTarget as _, Token, TokenSource},
    testing::servers::named,
};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::AUTHORIZATION,
    service::service_fn,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

const NAME: &str = "shop";
const REGION: &str = "eu-central-1";
/// What binds a token to its cluster.
const CLUSTER: &str = "x-k8s-aws-id";

const IDENTITY: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ana</Arn><UserId>AIDA</UserId><Account>111122223333</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"#;

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// AWS, as far as it has to do with clusters: where one is, and who asks.
async fn aws(endpoint: String, authority: String) -> SocketAddr {
    let cluster = json!({"cluster": {
        "name": NAME, "status": "ACTIVE", "version": "1.34", "endpoint": endpoint,
        "arn": Scope::new(REGION, "111122223333").arn("eks", "cluster/shop"),
        "certificateAuthority": {"data": STANDARD.encode(authority)},
    }});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let cluster = cluster.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let body = asked(&request, &cluster.to_string());
                async move { Ok::<_, Infallible>(body) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

/// A token is good for one cluster: its name was signed, and is sent by the authenticator of that cluster.
fn asked(request: &Request<Incoming>, cluster: &str) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        path if path == format!("/clusters/{NAME}") => (StatusCode::OK, cluster.to_owned()),
        // A deployer asks who it is.
        "/" if request.method() == Method::POST => (StatusCode::OK, IDENTITY.to_owned()),
        "/" => {
            let query = request.uri().query().unwrap_or_default();
            let signed =
                query.contains("X-Amz-SignedHeaders=host%3Bx-k8s-aws-id") && query.contains("X-Amz-Signature=");
            let named = request.headers().get(CLUSTER).is_some_and(|name| name == NAME);
            (if signed && named { StatusCode::OK } else { StatusCode::FORBIDDEN }, String::new())
        }
        _ => (StatusCode::NOT_FOUND, "{}".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
}

/// Lets in whom STS knows, as the administrator of the server behind.
struct Relay {
    server: kube::Client,
    let_in: AtomicUsize,
}

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

impl Relay {
    async fn start(kubeconfig: &str) -> (Arc<Self>, SocketAddr, String) {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let server = kube::Client::try_from(config).unwrap();
        let relay = Arc::new(Self { server, let_in: AtomicUsize::new(0) });
        let (tls, authority) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Arc::clone(&relay);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (relay, tls) = (Arc::clone(&this), tls.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let answer = service_fn(move |request| {
                        let relay = Arc::clone(&relay);
                        async move { Ok::<_, Infallible>(relay.answer(request).await) }
                    });
                    _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (relay, address, authority)
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if !knows(&request).await {
            let no = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401});
            let body = Full::new(Bytes::from(no.to_string())).map_err(|never| match never {}).boxed_unsync();
            let answer =
                Response::builder().status(StatusCode::UNAUTHORIZED).header("content-type", "application/json");
            return answer.body(body).unwrap();
        }
        self.let_in.fetch_add(1, Ordering::Relaxed);
        let (mut head, body) = request.into_parts();
        head.headers.remove(AUTHORIZATION);
        head.headers.remove("host");
        let body = Body::from(body.collect().await.unwrap().to_bytes());
        self.server.send(Request::from_parts(head, body)).await.unwrap().map(Body::boxed_unsync)
    }
}

/// Whether STS answers the question that the token is.
async fn knows(request: &Request<Incoming>) -> bool {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = token.and_then(|value| value.strip_prefix("Bearer k8s-aws-v1.")) else { return false };
    let question = String::from_utf8(URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
    let question = Request::get(question).header(CLUSTER, NAME).body(Empty::<Bytes>::new()).unwrap();
    let sts = Client::builder(TokioExecutor::new()).build_http();
    sts.request(question).await.unwrap().status() == StatusCode::OK
}

/// A server's side of TLS for loopback, and who vouches for it.
fn tls() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

async fn account(endpoint: &str) -> Account {
    let keys = Secret::new("a-key-for-tests".to_owned());
    let connect = ecolaura_deploy_aws::Connect::new().region(REGION).endpoint(endpoint).keys("ecolaura", keys);
    connect.connect(&cx()).await.unwrap()
}

/// What runs in the namespace `default` of the cluster, as the identity of the account sees it.
async fn look(found: &EksCluster, tokens: impl TokenSource) -> Result<usize> {
    let connect = Connect::tokens(found.endpoint(), Arc::new(tokens));
    let connection = connect.certificate_authority(found.certificate_authority()).connect(&cx()).await?;
    let cluster = KubernetesCluster::new("cluster".parse()?, connection);
    Ok(cluster.status(&cx(), &"default".parse()?).await?.pods.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_eks_is_found_and_lets_its_deployer_in() {
    let Some(kubeconfig) = named("ECOLAURA_TEST_KUBECONFIG") else { return };
    let (relay, server, authority) = Relay::start(&kubeconfig).await;
    let endpoint = format!("http://{}", aws(format!("https://{server}"), authority).await);
    let account = account(&endpoint).await;

    let found = EksCluster::find(&account, &cx(), NAME).await.unwrap();
    look(&found, found.tokens(&account, &cx())).await.unwrap();
    assert!(relay.let_in.load(Ordering::Relaxed) > 0, "it was asked through the relay");

    let before = relay.let_in.load(Ordering::Relaxed);
    let error = look(&found, Nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{}", error.report());
    assert_eq!(relay.let_in.load(Ordering::Relaxed), before, "nobody else is let in");
}

/// Has a token that is no question to anybody.
#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl TokenSource for Nobody {
    async fn token(&self) -> Result<Token> {
        Ok(Token::new(Secret::new("nobody-at-all".to_owned())))
    }
}
