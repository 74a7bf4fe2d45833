//! Files for the engine: first what there is, then what it asks for.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::Arc,
};

use bytes::Bytes;
use hyper::{HeaderMap, Request, Response, body::Incoming};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    super::{
        context::{Entry, Node, Source},
        messages::{Packet, Stat},
    },
    Offer,
    grpc::{self, Messages, Reply, Status},
};
use crate::{Error, ErrorKind, Result};

/// The name under which the build file is sent, whatever it is called here.
pub(crate) const BUILD_FILE: &str = "Dockerfile";
/// The most of a file that one message has, in bytes.
const PIECE: usize = 256 * 1024;
/// Messages that wait to be sent.
const WAITING: usize = 8;
/// Go's bits of a mode that Unix has elsewhere: its kinds of files, and what stands before the permissions.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// What the engine wants next.
#[derive(Debug)]
enum Wish {
    File(u32),
    End,
}

/// Answers a call for one of the folders of a build.
pub(super) fn send(offer: &Arc<Offer>, request: Request<Incoming>) -> Response<Reply> {
    let sending = match wanted(request.headers()) {
        Ok(sending) => sending,
        Err(name) => return grpc::refuse(&Status::not_found(format!("no folder `{name}`"))),
    };
    let (wishes, wanted) = mpsc::unbounded_channel();
    let (sender, messages) = mpsc::channel(WAITING);
    tokio::spawn(listen(request.into_body(), wishes));
    let offer = Arc::clone(offer);
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe(sender);
        if let Err(error) = pump(&offer, sending, &pipe, wanted) {
            let data = Bytes::from(error.message().to_owned());
            offer.fail(error);
            _ = pipe.send(&Packet { kind: Packet::FAILED, data, ..Packet::default() });
        }
    });
    grpc::many(messages)
}

/// What is asked for; the name of the folder, if there is none of it.
fn wanted(headers: &HeaderMap) -> std::result::Result<Sending, String> {
    let all = |name| headers.get_all(name).iter().filter_map(|value: &http::HeaderValue| value.to_str().ok());
    let mut paths = all("include-patterns").chain(all("followpaths")).peekable();
    // What is left out was left out here, so that an engine which asks for that alone hears of nothing.
    let ignored = paths.peek().is_some() && paths.all(|path| path == ".dockerignore");
    match all("dir-name").next() {
        Some("dockerfile") => Ok(Sending::BuildFile),
        Some("context") if ignored => Ok(Sending::Nothing),
        Some("context") => Ok(Sending::Context),
        name => Err(name.unwrap_or_default().to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Nothing,
    BuildFile,
    Context,
}

/// Takes wishes as they come: the engine has some before it was told everything, at most one for each file.
async fn listen(body: Incoming, wishes: mpsc::UnboundedSender<Wish>) {
    let mut messages = Messages::new(body);
    while let Ok(Some(message)) = messages.next().await {
        let wish = match Packet::decode(message) {
            Ok(packet) if packet.kind == Packet::REQUEST => Wish::File(packet.id),
            Ok(packet) if packet.kind == Packet::FINISHED => Wish::End,
            _ => return,
        };
        if wishes.send(wish).is_err() {
            return;
        }
    }
}

#[derive(Debug)]
struct Pipe(mpsc::Sender<Bytes>);

impl Pipe {
    /// `false` if nobody listens any more.
    fn send(&self, packet: &Packet) -> bool {
        self.0.blocking_send(grpc::framed(packet)).is_ok()
    }

    fn data(&self, id: u32, data: Bytes) -> bool {
        self.send(&Packet { kind: Packet::DATA, id, data, ..Packet::default() })
    }
}

fn pump(offer: &Offer, sending: Sending, pipe: &Pipe, mut wanted: mpsc::UnboundedReceiver<Wish>) -> Result<()> {
    if !announce(offer, sending, pipe) {
        return Ok(());
    }
    while let Some(wish) = wanted.blocking_recv() {
        offer.cx.check(offer.operation)?;
        let id = match wish {
            Wish::File(id) => id,
            Wish::End => {
                pipe.send(&Packet { kind: Packet::FINISHED, ..Packet::default() });
                return Ok(());
            }
        };
        let sent = match sending {
            Sending::BuildFile if id == 0 => pipe.data(id, offer.file.clone()),
            Sending::Context => match offer.entries.get(id as usize).map(|entry| &entry.node) {
                Some(Node::File(source)) => content(offer, source, id, pipe)?,
                _ => return Err(unknown(offer, id)),
            },
            _ => return Err(unknown(offer, id)),
        };
        if !sent || !pipe.data(id, Bytes::new()) {
            return Ok(());
        }
    }
    Ok(())
}

/// Says what there is. Files are asked for by their number in this order.
fn announce(offer: &Offer, sending: Sending, pipe: &Pipe) -> bool {
    let stat = |stat| pipe.send(&Packet { kind: Packet::STAT, stat, ..Packet::default() });
    let told = match sending {
        Sending::Nothing => true,
        Sending::BuildFile => stat(Some(Stat {
            path: BUILD_FILE.to_owned(),
            mode: 0o644,
            size: length(offer.file.len() as u64),
            ..Stat::default()
        })),
        Sending::Context => offer.entries.iter().all(|entry| stat(Some(announced(entry)))),
    };
    told && stat(None)
}

fn announced(entry: &Entry) -> Stat {
    let stat = Stat { path: entry.path.clone(), ..Stat::default() };
    match &entry.node {
        Node::Folder { mode } => Stat { mode: FOLDER | as_go(*mode), ..stat },
        Node::File(source) => Stat { mode: as_go(source.mode), size: length(source.size), ..stat },
        Node::Link { target } => Stat { mode: LINK | 0o777, link: target.clone(), ..stat },
    }
}

fn as_go(mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(unix, _)| mode & unix != 0).map(|(_, go)| go);
    special.fold(mode & 0o777, |mode, go| mode | go)
}

fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Sends what is in a file, which must be what it was when it was measured.
fn content(offer: &Offer, source: &Source, id: u32, pipe: &Pipe) -> Result<bool> {
    let failed = |error: io::Error| Error::io(offer.operation, &source.path, error);
    let mut file = File::open(&source.path).map_err(failed)?;
    let mut left = source.size;
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        let room = left.min(PIECE as u64);
        let read = (&mut file).take(room).read_to_end(&mut piece).map_err(failed)? as u64;
        if read < room {
            return Err(changed(offer, source));
        }
        left -= read;
        if !pipe.data(id, piece.into()) {
            return Ok(false);
        }
    }
    let found = file.metadata().map_err(failed)?;
    if (found.len(), found.modified().ok()) != (source.size, source.modified) {
        return Err(changed(offer, source));
    }
    Ok(true)
}

fn changed(offer: &Offer, source: &Source) -> Error {
    crate::local::image::changed(offer.operation, &source.path)
}

fn unknown(offer: &Offer, id: u32) -> Error {
    let message = format!("the engine asks for the file number {id}, which there is not");
    Error::new(ErrorKind::Unsupported, offer.operation, message)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path, sync::Mutex, time::Duration};

    use super::*;
    use crate::{
        Context,
        docker::{context, ignore::Ignore, session::Logins},
        local::image::Problems,
    };

    #[test]
    fn modes_are_as_go_has_them() {
        assert_eq!(as_go(0o644), 0o644);
        assert_eq!(as_go(0o4755), 0o755 | 1 << 23);
        assert_eq!(as_go(0o3777), 0o777 | 1 << 22 | 1 << 20);
    }

    #[test]
    fn only_who_asks_for_the_ignore_file_alone_gets_nothing() {
        for (asked, sending) in [
            (&[("dir-name", "dockerfile"), ("followpaths", "Dockerfile")][..], Ok(Sending::BuildFile)),
            (&[("dir-name", "context"), ("followpaths", ".dockerignore")], Ok(Sending::Nothing)),
            (&[("dir-name", "context"), ("include-patterns", ".dockerignore")], Ok(Sending::Nothing)),
            (
                &[("dir-name", "context"), ("followpaths", ".dockerignore"), ("followpaths", "package.json")],
                Ok(Sending::Context),
            ),
            (&[("dir-name", "context"), ("followpaths", "src")], Ok(Sending::Context)),
            (&[("dir-name", "context")], Ok(Sending::Context)),
            (&[("dir-name", "other")], Err("other".to_owned())),
            (&[], Err(String::new())),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in asked {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(wanted(&headers), sending, "{asked:?}");
        }
    }

    /// What the engine is sent of a file that `change` befalls after it was measured.
    fn sent(change: impl FnOnce(&Path)) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, vec![b'a'; PIECE + 1]).unwrap();
        let (cx, mut problems) = (Context::new("test".parse().unwrap()), Problems::default());
        let entries = context::list((&cx, "test"), dir.path(), &Ignore::default(), &mut problems).unwrap();
        change(&path);

        let offer = Offer {
            cx,
            operation: "test",
            file: Bytes::new(),
            entries: entries.into(),
            secrets: BTreeMap::new(),
            logins: Logins::default(),
            told: Mutex::default(),
            fault: Mutex::default(),
        };
        let Node::File(source) = &offer.entries[0].node else { panic!("{:?}", offer.entries) };
        let (sender, mut messages) = mpsc::channel(WAITING);
        assert!(content(&offer, source, 0, &Pipe(sender))?);
        let mut bytes = Vec::new();
        while let Some(message) = messages.blocking_recv() {
            bytes.extend(Packet::decode(message.slice(grpc::PREFIX..)).unwrap().data);
        }
        Ok(bytes)
    }

    #[test]
    fn a_file_that_changes_once_it_is_measured_is_named_and_not_built_from() {
        assert_eq!(sent(|_| ()).unwrap(), vec![b'a'; PIECE + 1]);
        let changes: [fn(&Path); 4] = [
            |path| fs::write(path, "shorter").unwrap(),
            |path| fs::write(path, vec![b'a'; PIECE * 2]).unwrap(),
            |path| {
                // Of the same size, an hour later.
                let later = fs::metadata(path).unwrap().modified().unwrap() + Duration::from_hours(1);
                fs::write(path, vec![b'b'; PIECE + 1]).unwrap();
                File::options().append(true).open(path).unwrap().set_modified(later).unwrap();
            },
            |path| fs::remove_file(path).unwrap(),
        ];
        for change in changes {
            let error = sent(change).unwrap_err();
            assert!(error.message().contains("/program"), "{error}");
        }
    }
}
