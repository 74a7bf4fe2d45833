//! The agent's socket.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::PathBuf,
};

use tokio::net::{UnixListener, UnixStream};

use crate::local::cluster::state::Folder;

const NAME: &str = "agent.sock";

/// The longest path of a socket on every system.
const LONGEST: usize = 100;

/// A path that is short enough: a long one leads through the opened folder.
fn path(folder: &Folder) -> io::Result<(Option<File>, PathBuf)> {
    let path = folder.file(NAME);
    if path.as_os_str().len() <= LONGEST {
        return Ok((None, path));
    }
    let dir = File::open(folder.path())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
    Ok((Some(dir), path))
}

/// Connects; `None` if no agent listens.
///
/// One that ends before it accepted resets what stood in its queue, and connecting reports that if it sees it.
pub(in super::super) async fn connect(folder: &Folder) -> io::Result<Option<UnixStream>> {
    let (_dir, path) = path(folder)?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if nobody_listens(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn nobody_listens(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(kind, NotFound | ConnectionRefused | ConnectionReset)
}

/// Listens in the place of a socket that a killed agent left. Only for the holder of the folder's lock.
pub(super) fn listen(folder: &Folder) -> io::Result<UnixListener> {
    remove(folder);
    let (_dir, path) = path(folder)?;
    UnixListener::bind(path)
}

pub(super) fn remove(folder: &Folder) {
    // One that is not there need not go; one that cannot go is reported by `bind`.
    _ = fs::remove_file(folder.file(NAME));
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, sync::Barrier, thread};

    use super::*;

    #[test]
    fn an_agent_that_ends_while_one_connects_does_not_listen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        for round in 0..2_000 {
            remove(&folder);
            let listener = UnixListener::bind(folder.file(NAME)).unwrap();
            let both = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    drop(listener);
                });
                both.wait();
                let connected = runtime.block_on(connect(&folder));
                assert!(connected.is_ok(), "round {round}: {connected:?}");
            });
        }
    }
}
