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
pub(in super::super) async fn connect(folder: &Folder) -> io::Result<Option<UnixStream>> {
    let (_dir, path) = path(folder)?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
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
