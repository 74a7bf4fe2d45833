//! Taking an environment.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Gone, Holder, LockPolicy, Seen,
    beats::Beats,
    claims::Claim,
    decide::{Move, Watch, decide},
    epoch::{Epoch, Ground},
    first,
    layout::{Held, Keys, SCHEMA},
    look,
    loss::{self, Loss},
    probe,
    process::Machine,
    waiters::Waiter,
};
use crate::{
    Context, Result,
    clock::Clock,
    nonce::NonceSource,
    pipeline::Landing,
    store::{self, Created, EnvironmentState, RunStore, seal},
    vocabulary::EnvironmentName,
};

/// Who wants which environment, for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) store: &'a Arc<dyn RunStore>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) nonces: &'a Arc<dyn NonceSource>,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) run: &'a str,
    pub(crate) holder: &'a Holder,
    /// Where it runs.
    pub(crate) machine: &'a Arc<dyn Machine>,
    pub(crate) landing: Landing,
    pub(crate) policy: LockPolicy,
}

impl Request<'_> {
    pub(super) fn ground(&self) -> Ground {
        Ground {
            store: Arc::clone(self.store),
            clock: Arc::clone(self.clock),
            nonces: Arc::clone(self.nonces),
            keys: Keys::new(self.environment),
            machine: Arc::clone(self.machine),
        }
    }
}

/// An epoch that was created, and what was there before.
struct Won {
    number: u64,
    claim: Claim,
    before: Option<Seen>,
    takeover: Option<String>,
}

/// Takes the environment.
///
/// Fails with [`Conflict`](crate::ErrorKind::Conflict) saying who has it and since when, or which newer release waits
/// too, or which newer release is live; with `Unsupported` on a store that cannot hold a lock or that a newer program
/// uses; with `Cancelled` and `Timeout` as `cx` says; and with the store's error. Then nothing is held. A cancel leaves
/// at most an epoch whose holder is gone.
pub(crate) async fn acquire(cx: &Context, request: Request<'_>) -> Result<Epoch> {
    request.policy.check()?;
    let ground = request.ground();
    probe::once(&ground).await?;
    let mut waiter = Waiter::new(&ground, &request);
    let won = cx.bounded("lock.acquire", contend(cx, &ground, &request, &mut waiter)).await;
    waiter.leave().await;
    begin(ground, &request, won??).await
}

async fn contend(cx: &Context, ground: &Ground, request: &Request<'_>, waiter: &mut Waiter<'_>) -> Result<Won> {
    let mut watch = Watch::default();
    loop {
        let asked = Instant::now();
        let seen = look::look_at(ground.store.as_ref(), &ground.keys).await?;
        let gone = |seen: &Seen| seen.is_gone_on(ground.machine.as_ref(), ground.keys.environment());
        let gone = seen.as_ref().map_or(Gone::CannotTell, gone);
        let silent = watch.silent_for(seen.as_ref(), asked);
        match decide(seen.as_ref(), gone, silent) {
            Move::Create { takeover } => {
                waiter.check_others().await?;
                if let Some((number, claim)) = create(ground, request, seen.as_ref()).await? {
                    return Ok(Won { number, claim, before: seen, takeover });
                }
            }
            Move::Wait(held) => waiter.wait(cx, held, gone).await?,
        }
    }
}

/// Creates the epoch after `seen`; `None` if another was faster.
pub(super) async fn create(
    ground: &Ground,
    request: &Request<'_>,
    seen: Option<&Seen>,
) -> Result<Option<(u64, Claim)>> {
    let snapshot = store::newest_snapshot(ground.store.as_ref(), ground.keys.environment()).await?;
    let newest = seen.map_or(0, |seen| seen.epoch).max(snapshot);
    let number = match newest {
        0 => match first::agree(ground).await? {
            Some(number) => number,
            None => return Ok(None),
        },
        newest => newest + 1,
    };
    let held = Held {
        schema: SCHEMA,
        nonce: ground.nonce(),
        epoch: number,
        run: request.run.to_owned(),
        holder: request.holder.clone(),
        since: ground.now(),
        term_ms: u64::try_from(request.policy.term.as_millis()).unwrap_or(u64::MAX),
        landing: request.landing,
    };
    let claim = Claim::new(ground.keys.environment(), &held.nonce);
    let line = seal::seal(&held)?.0;
    if store::settle(ground.store.as_ref(), &ground.keys.held(number), line).await? == Created::Exists {
        return Ok(None);
    }
    // A number whose epoch was pruned long ago can be created again; then there are newer ones.
    match loss::newer(ground, number).await? {
        None => Ok(Some((number, claim))),
        Some(_) => {
            ground.store.remove(&ground.keys.held(number)).await?;
            Ok(None)
        }
    }
}

/// Beats from here on, reads the environment's state, and gives the epoch back if its release may not land.
async fn begin(ground: Ground, request: &Request<'_>, won: Won) -> Result<Epoch> {
    let Won { number, claim, before, takeover } = won;
    let (loss, stop) = (Loss::default(), CancellationToken::new());
    let beats = Beats { ground: ground.clone(), number, term: request.policy.term, loss: loss.clone() };
    let mut epoch = Epoch {
        warnings: warnings(&ground, before.as_ref(), takeover),
        state: EnvironmentState::default(),
        beats: tokio::spawn(beats.run(stop.clone())),
        stop: stop.drop_guard(),
        ground,
        number,
        loss,
        claim,
    };
    match admitted(&epoch, request.landing).await {
        Ok(state) => {
            epoch.warnings.extend(state.warnings.clone());
            epoch.state = state;
            Ok(epoch)
        }
        Err(error) => {
            // If this fails too, the environment is held by a holder that is gone.
            let _ = epoch.give_back().await;
            Err(error)
        }
    }
}

async fn admitted(epoch: &Epoch, landing: Landing) -> Result<EnvironmentState> {
    let state = store::state(epoch.ground.store.as_ref(), epoch.ground.keys.environment()).await?;
    landing.check(state.live.as_ref().map(|live| live.sequence))?;
    Ok(state)
}

fn warnings(ground: &Ground, before: Option<&Seen>, takeover: Option<String>) -> Vec<String> {
    let mut warnings: Vec<String> = takeover.into_iter().collect();
    let Some(before) = before else { return warnings };
    let now = ground.now();
    if let Some(since) = before.since.filter(|since| *since > now) {
        let epoch = before.epoch;
        warnings.push(format!("the wall clock went back: epoch {epoch} began at {since}, and now it is {now}"));
    }
    warnings.extend(before.damage.clone());
    warnings
}
