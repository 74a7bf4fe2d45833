//! Why a server cannot be reached, for people.

use std::{error::Error as StdError, io};

use ecolaura_deploy_core::Error;

/// Why no connection stands.
pub(super) struct Reason {
    pub(super) what: String,
    pub(super) advice: &'static str,
    /// Whether it would be the same in a minute.
    pub(super) lasting: bool,
}

impl Reason {
    fn passing(what: impl Into<String>, advice: &'static str) -> Self {
        Self { what: what.into(), advice, lasting: false }
    }

    fn lasting(what: impl Into<String>, advice: &'static str) -> Self {
        Self { what: what.into(), advice, lasting: true }
    }
}

/// What this crate's own layer said in the middle of a call.
pub(super) fn own(error: &kube::Error) -> Option<Error> {
    let kube::Error::Service(error) = error else { return None };
    let own = error.downcast_ref::<Error>()?;
    let mut copy = Error::new(own.kind(), own.operation().to_owned(), own.message().to_owned())
        .with_effect(own.effect())
        .with_retry(own.retry());
    for (key, value) in own.context() {
        copy = copy.with(key.to_owned(), value);
    }
    Some(match own.advice_text() {
        Some(advice) => copy.advice(advice),
        None => copy,
    })
}

/// Why the connection did not come to stand, where that is known. `None` also where it stood and broke.
pub(super) fn reason(error: &kube::Error, chain: &str) -> Option<Reason> {
    let says = |words: &str| chain.contains(words);
    let causes = || causes(error);
    let io = || causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if let Some(reason) = untrusted(chain).or_else(|| proxy(chain)) {
        return Some(reason);
    }
    Some(match () {
        () if says("dns error") => {
            let last = causes().last().map(ToString::to_string).unwrap_or_default();
            Reason::passing(format!("its name cannot be resolved ({last})"), "check the name, and this machine's DNS")
        }
        () if !says("(Connect)") => return None,
        () if io().any(|kind| kind == io::ErrorKind::ConnectionRefused) => Reason::passing(
            "nothing listens there (connection refused)",
            "check the address, and that the API server runs",
        ),
        () if io().any(|kind| kind == io::ErrorKind::TimedOut) => {
            Reason::passing("no connection came to stand in time", "check the network: VPN, firewall, proxy")
        }
        () if io().any(|kind| matches!(kind, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)) => {
            Reason::passing("no way leads there", "check the network: VPN, routes")
        }
        () => return None,
    })
}

fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

fn untrusted(chain: &str) -> Option<Reason> {
    let says = |words: &str| chain.contains(words);
    Some(match () {
        () if says("UnknownIssuer") || says("CaUsedAsEndEntity") => Reason::lasting(
            "its certificate is signed by nobody who is trusted here",
            "give the cluster's authority as `certificate-authority`; if it is right, somebody stands between",
        ),
        () if says("BadSignature") => Reason::lasting(
            "its certificate is signed by another authority of the same name as the trusted one",
            "the cluster was probably made anew: take its present `certificate-authority`",
        ),
        () if says("NotValidForName") || says("not valid for name") => Reason::lasting(
            "its certificate is for another name",
            "use a name that the certificate has, or give that as `tls-server-name`",
        ),
        () if says("invalid peer certificate: Expired") || says("certificate expired") => Reason::lasting(
            "its certificate has expired",
            "renew the server's certificate, or set this machine's clock",
        ),
        () if says("invalid peer certificate: ") => {
            let why = chain.split("invalid peer certificate: ").nth(1).unwrap_or_default();
            Reason::lasting(format!("its certificate is not valid: {why}"), "renew the server's certificate")
        }
        () if says("InvalidContentType") => Reason::lasting("it does not speak TLS", "check the address and the port"),
        () if says("received fatal alert: ") => Reason::lasting(
            "it refuses the client's certificate or this way of TLS",
            "check `client-certificate` and `client-key`: they may have expired or be of another cluster",
        ),
        () => return None,
    })
}

fn proxy(chain: &str) -> Option<Reason> {
    const ADVICE: &str = "check `proxy-url` of the kubeconfig, or HTTPS_PROXY and NO_PROXY";
    let said = chain.split("tunnel error: ").nth(1)?;
    Some(match () {
        () if said.starts_with("proxy authorization required") => {
            Reason::lasting("the proxy wants a user and a password, or does not accept them", ADVICE)
        }
        () if said.starts_with("unsuccessful") => Reason::passing("the proxy does not lead there", ADVICE),
        () => Reason::passing(format!("the proxy cannot be used: {said}"), ADVICE),
    })
}
