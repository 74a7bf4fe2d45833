//! The lifeline of a pod's processes.

use std::{io, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdin, Command},
};

/// Leads the process group of a pod and holds the reading end of a pipe whose other end only its owner has. When the
/// owner is gone, for whatever reason, the pipe ends, and the guardian kills its group and so itself.
///
/// It is a shell, not this program again, because it must work where `main` is not ours. It says when it is ready, so
/// that there is no moment in which a pod's process runs unguarded.
const SCRIPT: &str = "trap '' HUP INT TERM; echo; read -r _; kill -s KILL 0";

/// A process group that ends with this value.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    group: Pid,
    _lifeline: ChildStdin,
}

impl Guardian {
    pub(super) async fn start() -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let gone = || io::Error::other("the guardian ended at once");
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(gone)?;
        let (lifeline, answer) = (child.stdin.take(), child.stdout.take());
        let (Some(lifeline), Some(mut answer)) = (lifeline, answer) else { return Err(gone()) };
        answer.read_u8().await?;
        Ok(Self { child, group, _lifeline: lifeline })
    }

    /// The process group that it leads; its number is not given to another process before [`Guardian::end`].
    pub(super) fn group(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Kills what is left of the group and the guardian.
    pub(super) async fn end(&mut self) {
        self.kill();
        _ = self.child.wait().await;
    }

    fn kill(&self) {
        // The number is the group's as long as the child was not waited for; a group without a process has ended.
        if self.child.id().is_some() {
            _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.kill();
    }
}
