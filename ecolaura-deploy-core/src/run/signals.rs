//! What a program does when it is asked to end.

use tokio_util::sync::CancellationToken;

/// Waits for SIGINT (Ctrl-C) or SIGTERM. The first cancels `cancel`: hand a context with that token to
/// [`Runner::run`](super::Runner::run), and the run ends as [`OnCancel`](super::OnCancel) says. This returns at the
/// second: whoever gets here stops at once, by dropping the run, which can then be resumed.
///
/// Where no handler can be installed it never returns, and signals do what they did before. Nothing is installed before
/// the first poll.
///
/// ```
/// # async fn example() {
/// use ecolaura_deploy_core::{Context, run::stop_on_signals};
/// use tokio_util::sync::CancellationToken;
/// let cancel = CancellationToken::new();
/// let cx = Context::new("dev".parse().unwrap()).with_cancellation(cancel.clone());
/// tokio::select! {
///     () = async { /* plan and run with `cx` */ } => {}
///     () = stop_on_signals(cancel) => { /* left to be resumed */ }
/// }
/// # }
/// ```
pub async fn stop_on_signals(cancel: CancellationToken) {
    let Ok(mut signals) = Signals::install() else {
        tracing::warn!("signals are not handled: no handler could be installed");
        return std::future::pending().await;
    };
    signals.next().await;
    cancel.cancel();
    signals.next().await;
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
