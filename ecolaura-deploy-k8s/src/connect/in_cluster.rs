//! The account of the pod that this process runs in.

use std::{net::IpAddr, sync::Arc};

use ecolaura_deploy_core::{Error, ErrorKind, Result};

use super::{OPERATION, Target, surroundings::Surroundings, token::TokenFile};

const ADVICE: &str = "run it in a pod that has a service account, or connect with a kubeconfig";

pub(super) fn target(surroundings: &Surroundings) -> Result<Target> {
    let account = &surroundings.account;
    let host = variable(surroundings, "KUBERNETES_SERVICE_HOST")?;
    let port = variable(surroundings, "KUBERNETES_SERVICE_PORT")?;
    let host = match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    };
    let read = |name: &str| {
        let path = account.join(name);
        std::fs::read(&path).map_err(|error| Error::io(OPERATION, path, error).advice(ADVICE))
    };
    let (authority, token) = (account.join("ca.crt"), account.join("token"));
    let namespace = String::from_utf8_lossy(&read("namespace")?).trim().to_owned();
    read("token")?;
    Ok(Target {
        authority: Some(read("ca.crt")?),
        authority_file: Some(authority),
        tokens: Some(Arc::new(TokenFile::new(token))),
        namespace,
        ..Target::new("the pod's service account", format!("https://{host}:{port}"))
    })
}

fn variable<'a>(surroundings: &'a Surroundings, name: &str) -> Result<&'a str> {
    surroundings.get(&[name]).ok_or_else(|| {
        let message = format!("this process runs in no cluster: `{name}` is not set");
        Error::new(ErrorKind::NotFound, OPERATION, message).advice(ADVICE)
    })
}
