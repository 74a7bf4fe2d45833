//! Servers that are reached, through what, and why others are not.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        Self::named("kubernetes")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn pair(&self, name: &str, days: i64) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let end = rcgen::date_time_ymd(if days < 0 { 2001 } else { 4000 }, 1, 1);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2000, 1, 1), end);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    /// A server with a certificate for `name`.
    fn server(&self, name: &str, days: i64) -> Arc<ServerConfig> {
        self.tls(name, days, false)
    }

    fn tls(&self, name: &str, days: i64, clients: bool) -> Arc<ServerConfig> {
        install_cryptography();
        let pair = self.pair(name, days);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = if clients {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        } else {
            ServerConfig::builder().with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(vec![pair.certificate.der().clone()], key).unwrap())
    }
}

/// Connects to `server`, trusting `authority`.
async fn check(server: &str, authority: &str) -> Result<Identity> {
    let cluster = json!({"server": server, "certificate-authority-data": BASE64_STANDARD.encode(authority)});
    Folder::new(cluster, json!({})).connect().connect(&cx()).await?.check(&cx()).await
}

async fn unreachable(server: &str, authority: &str, words: &[&str]) -> Error {
    let error = check(server, authority).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    says(&error.report(), words);
    says(&error.report(), &[server]);
    error
}

#[tokio::test]
async fn a_server_with_its_own_authority_is_reached() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("127.0.0.1", 1), answer).await;
    let identity = check(&server.url(), &authority.pem()).await.unwrap();
    assert_eq!(identity.to_string(), format!("holder of nothing at {} (Kubernetes v1.34.4)", server.url()));
    assert_eq!(identity.groups, ["g"]);
    // The same by tokens, with the authority given.
    let folder = Folder::new(json!({}), json!({}));
    let token = folder.write("token", "t");
    let source = Arc::new(token::TokenFile::new(token));
    let connect = alone(Connect::tokens(server.url(), source)).certificate_authority(authority.pem());
    assert_eq!(connect.connect(&cx()).await.unwrap().check(&cx()).await.unwrap().user, "holder of t");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.tls("127.0.0.1", 1, true), answer).await;
    let pair = authority.pair("me", 1);
    let ca = json!({"server": server.url(), "certificate-authority-data": BASE64_STANDARD.encode(authority.pem())});
    let folder = Folder::new(ca.clone(), json!({"client-certificate": "me.pem", "client-key": "me.key"}));
    folder.write("me.pem", &pair.certificate.pem());
    folder.write("me.key", &pair.key.serialize_pem());
    folder.connect().connect(&cx()).await.unwrap().check(&cx()).await.unwrap();
    // Without one the server refuses.
    let error = Folder::new(ca, json!({})).connect().connect(&cx()).await.unwrap().check(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    says(&error.report(), &["client's certificate", "client-certificate"]);
    // One that does not belong to its key is found before.
    folder.write("me.key", &KeyPair::generate().unwrap().serialize_pem());
    says(&fails(folder.connect()).await.report(), &["credentials cannot be used", "config"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_as_such() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("127.0.0.1", 1), answer).await;
    let made_anew = Authority::new().pem();
    unreachable(&server.url(), &made_anew, &["another authority of the same name", "made anew"]).await;
    let other = Authority::named("other").pem();
    let error = unreachable(&server.url(), &other, &["signed by nobody who is trusted", "certificate-authority"]).await;
    assert_eq!(error.retry(), ecolaura_deploy_core::Retry::Never);

    let named = FakeServer::start_tls(authority.server("cluster.example.org", 1), answer).await;
    unreachable(&named.url(), &authority.pem(), &["another name", "tls-server-name"]).await;
    let cluster = json!({
        "server": named.url(), "tls-server-name": "cluster.example.org",
        "certificate-authority-data": BASE64_STANDARD.encode(authority.pem()),
    });
    Folder::new(cluster, json!({})).connect().connect(&cx()).await.unwrap().check(&cx()).await.unwrap();

    let expired = FakeServer::start_tls(authority.server("127.0.0.1", -1), answer).await;
    unreachable(&expired.url(), &authority.pem(), &["expired"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_the_reason() {
    let authority = Authority::new().pem();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    unreachable(&format!("https://{closed}"), &authority, &["connection refused", "API server runs"]).await;
    unreachable("https://cluster.invalid", &authority, &["cannot be resolved", "DNS"]).await;
    let plain = FakeServer::start(answer).await;
    unreachable(&plain.url().replace("http", "https"), &authority, &["does not speak TLS"]).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let cluster =
        json!({"server": server, "certificate-authority-data": BASE64_STANDARD.encode(Authority::new().pem())});
    let folder = Folder::new(cluster, json!({}));
    let error = folder
        .connect()
        .connect_timeout(Duration::from_millis(200))
        .connect(&cx())
        .await
        .unwrap()
        .check(&cx())
        .await
        .unwrap_err();
    says(&error.report(), &["in time", "VPN", &server]);
}

/// A proxy that lets in who has this header, and tells what it was asked.
async fn proxy(wants: Option<&'static str>) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                tell.send(head.clone()).unwrap();
                if wants.is_some_and(|wanted| !head.contains(wanted)) {
                    client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
                    return;
                }
                // Whatever name was asked for is this machine.
                let port = target.rsplit(':').next().unwrap();
                let Ok(mut server) = TcpStream::connect(format!("127.0.0.1:{port}")).await else {
                    client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
                    return;
                };
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (address.to_string(), told)
}

#[tokio::test]
async fn a_proxy_leads_to_the_server() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("cluster.test", 1), answer).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let cluster = |proxy: Option<String>| {
        let mut cluster = json!({
            "server": format!("https://cluster.test:{port}"),
            "certificate-authority-data": BASE64_STANDARD.encode(authority.pem()),
        });
        if let Some(proxy) = proxy {
            cluster["proxy-url"] = json!(proxy);
        }
        Folder::new(cluster, json!({"token": "hunter2-hunter2"}))
    };
    let asked = format!("CONNECT cluster.test:{port} HTTP/1.1");

    let (address, mut told) = proxy(None).await;
    let by_config = cluster(Some(format!("http://{address}"))).connect().connect(&cx()).await.unwrap();
    by_config.check(&cx()).await.unwrap();
    let head = told.recv().await.unwrap();
    says(&head, &[&asked]);
    assert!(!head.contains("hunter2"), "the token is for the server alone");

    let variable = format!("http://{address}");
    let folder = cluster(None);
    let by_variable = with(folder.connect(), &[("HTTPS_PROXY", &variable)]).connect(&cx()).await.unwrap();
    by_variable.check(&cx()).await.unwrap();
    says(&told.recv().await.unwrap(), &[&asked]);
    let direct = with(folder.connect(), &[("HTTPS_PROXY", &variable), ("NO_PROXY", "cluster.test")]);
    let error = direct.connect(&cx()).await.unwrap().check(&cx()).await.unwrap_err();
    says(&error.report(), &["cannot be resolved"]);
    assert!(told.try_recv().is_err(), "the proxy was not asked");
}

#[tokio::test]
async fn a_proxy_may_want_a_user_and_a_password() {
    let basic = BASE64_STANDARD.encode("me:p@ss-w0rd-1");
    let wants: &'static str = Box::leak(format!("Basic {basic}").into_boxed_str());
    let (address, _told) = proxy(Some(wants)).await;
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("cluster.test", 1), answer).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let through = |user: &str, port: &str| {
        let cluster = json!({
            "server": format!("https://cluster.test:{port}"), "proxy-url": format!("http://{user}{address}"),
            "certificate-authority-data": BASE64_STANDARD.encode(authority.pem()),
        });
        Folder::new(cluster, json!({}))
    };
    through("me:p%40ss-w0rd-1@", &port).connect().connect(&cx()).await.unwrap().check(&cx()).await.unwrap();
    for (user, port, word) in
        [("", port.as_str(), "user and a password"), ("me:p%40ss-w0rd-1@", "1", "does not lead there")]
    {
        let error = through(user, port).connect().connect(&cx()).await.unwrap().check(&cx()).await.unwrap_err();
        says(&error.report(), &[word, "proxy-url"]);
        assert!(!format!("{error:?}").contains("w0rd"), "{error:?}");
    }
}

#[tokio::test]
async fn a_pod_connects_as_its_account() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("127.0.0.1", 1), answer).await;
    let folder = Folder::new(json!({}), json!({}));
    folder.write("ca.crt", &authority.pem());
    folder.write("namespace", "shop");
    folder.write("token", "pod");
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let variables = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", port.as_str())];
    let surroundings = Surroundings::of(&variables, folder.0.path());
    let connection = Connect { surroundings, ..Connect::in_cluster() }.connect(&cx()).await.unwrap();
    assert_eq!(connection.namespace(), "shop");
    assert_eq!(connection.check(&cx()).await.unwrap().user, "holder of pod");
    assert_eq!(connection.warnings(), [], "the kubelet writes these files, not the user");
}
