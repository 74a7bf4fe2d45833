//! Deployments as supervised local processes, behind a small weighted proxy. For development and tests on Linux.
//!
//! ```text
//! program ── calls ──▶ agent (or threads of the program) ──▶ pod: guardian + process, at 127.A.B.128…254
//!                        │ state.json, logs/, images/        ▲
//! caller ── HTTP/1.1 ──▶ └ proxy, at 127.A.B.1…127:PORT ──────┘
//! ```
//!
//! # What runs
//! - One process for each pod, from its image's unpacked files: `entrypoint` and `cmd`, replaced by the manifest's
//!   `command` and `args`; the program is looked up in the image. A program whose dynamic loader is in the image is run by
//!   that loader with the image's own library folders; one without is run by this machine's.
//! - Its environment is `PATH`, `HOSTNAME` (the pod), `HOME=/`, `TMPDIR` (its own), then the image's, then
//!   `NAME_SERVICE_HOST` and `_PORT` for each Service of the namespace, then `POD_IP` and `PORT` (its first port), then the
//!   manifest's; nothing of the program that deploys.
//! - There is no isolation: no namespace, no chroot, no user, no limits. A process sees this machine's files and network.
//!   What it writes beside its `TMPDIR` stays, also in its image's folder, which pods of one image share.
//!
//! # Addresses
//! - Each pod has a loopback address of its own, so replicas share a port number. A program must listen at `$POD_IP:$PORT`;
//!   one that listens everywhere takes the port of all others.
//! - Each Service has one that stays; it moves on only when another program took its port while nothing ran. A port below
//!   1024 that this user may not open is served 8000 higher (80 at 8080). Every user of this machine can reach them.
//!
//! # Requests
//! - The proxy speaks HTTP/1.1 (upgrades too) and chooses a pod for each request, also on a kept connection: the version
//!   by the exact share, then the least busy of its ready pods. Bodies are streamed.
//! - A pod is taken out of the table, its requests finish, then it gets `SIGTERM`, then, once its grace is over,
//!   `SIGKILL`. A pod that refuses the connection has had nothing, so another is tried.
//! - Without a ready pod the answer is 503 with the reason, from the proxy (`x-refused-by`).
//!
//! # Probes, restarts, verdicts
//! Kubernetes' thresholds and defaults, with three differences: a pod that is not ready yet is asked from every 100 ms on;
//! without a readiness probe, a pod behind a Service is ready when it accepts a connection; a container that ends is
//! started again after 250 ms, doubling up to 10 s. A roll-out has failed when a container was restarted three times in a
//! row or cannot start, and otherwise when it made no progress for `progressDeadlineSeconds`.
//!
//! # When something dies
//! | dies | then |
//! |---|---|
//! | the deploying program, with an agent | everything serves on; the next run finds it |
//! | the deploying program, without | its pods are killed with it, also by `kill -9` |
//! | the agent, also by `kill -9` | its pods are killed with it; the next call that changes something, or waits, starts an agent, and what ran runs again, at the same addresses, with the same revisions |
//! | a pod's process | it is started again; its other processes are killed |
//!
//! A pod's processes form one process group. Its leader, the guardian, holds a pipe to the owner and kills the group when
//! the pipe ends. A process that leaves the group (`setsid`) escapes that. Whoever opens the folder next also ends processes
//! that the folder names and that still are the same ones (by id and start time).
//!
//! # The folder
//! Private to its user (mode 0700). `state.json` holds the last ten editions of each service, with the values of its
//! secrets as the manifests give them, and for each namespace the newest epoch of each environment that changed it: an
//! older one is refused ([`crate::fence`]). Log lines are kept without secrets. One process runs a folder at a time.

mod addresses;
mod agent;
mod elf;
mod engine;
mod events;
mod leftovers;
mod link;
mod program;
mod proxy;
mod rollout;
mod state;
mod supervise;
mod target;

pub use self::{agent::run_agent_if_asked, target::ProcessCluster};

#[cfg(test)]
mod tests;
