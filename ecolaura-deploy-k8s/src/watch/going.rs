//! Namespaces that go while something in them is waited for. What is in one goes late and in an order of its own, its
//! pods first, and controllers say nothing of what they cannot make there any more.

use std::collections::BTreeSet;

use futures_util::{
    StreamExt as _,
    stream::{BoxStream, SelectAll, select_all},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, runtime::watcher};

use super::{Awaited, informer::anew};
use crate::{object::Key, reconcile::Server};

/// The namespaces of what is waited for. Whoever may not watch one hears of its end by what is in it.
pub(super) struct Going(SelectAll<BoxStream<'static, Key>>);

impl Going {
    pub(super) fn watch(server: &Server<'_>, namespace: &str, awaited: &[&Awaited]) -> Self {
        let others = awaited.iter().filter_map(|awaited| awaited.key.namespace.as_deref());
        let names: BTreeSet<&str> = others.chain([namespace]).collect();
        Self(select_all(names.into_iter().map(|name| watch(server, Key::new("v1", "Namespace", None, name)))))
    }

    /// The next one that is being deleted; none may ever be.
    pub(super) async fn next(&mut self) -> Key {
        match self.0.next().await {
            Some(going) => going,
            None => std::future::pending().await,
        }
    }
}

fn watch(server: &Server<'_>, key: Key) -> BoxStream<'static, Key> {
    let api = Api::<Namespace>::all(server.connection.client());
    let name = key.name.clone();
    anew(move || watcher::watch_object(api.clone(), &name))
        .take_while(|found| std::future::ready(!found.as_ref().is_err_and(is_refused)))
        .filter_map(move |found| {
            let is_going = found.ok().flatten().is_some_and(|found| found.metadata.deletion_timestamp.is_some());
            std::future::ready(is_going.then(|| key.clone()))
        })
        .boxed()
}

/// Whether the right is missing. Whatever else fails is tried again.
fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403)
}
