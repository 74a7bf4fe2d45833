//! Waiting for an environment, in sight of the others that wait.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Gone, Seen, Wait,
    acquire::Request,
    beats,
    claims::Claim,
    epoch::Ground,
    layout::{self, SCHEMA, Ticket},
    policy::patience,
};
use crate::{Context, Error, ErrorKind, Result, pipeline::Landing, store::seal};

/// Says once a minute that it waits.
const REPORT: Duration = Duration::from_mins(1);

/// One that may have to wait. Its ticket is there for others while it does.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    ground: &'a Ground,
    request: &'a Request<'a>,
    began: Instant,
    said: Option<Instant>,
    ticket: Option<Own>,
    others: BTreeMap<String, Other>,
}

/// Our ticket.
#[derive(Debug)]
struct Own {
    folder: String,
    beat: u64,
    beaten: Instant,
    _claim: Claim,
}

/// Another's ticket, and its newest beat when we saw it first.
#[derive(Debug)]
struct Other {
    ticket: Option<Ticket>,
    first: Option<u64>,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(ground: &'a Ground, request: &'a Request<'a>) -> Self {
        Self { ground, request, began: Instant::now(), said: None, ticket: None, others: BTreeMap::new() }
    }

    /// Waits for a moment, or fails if it has waited long enough or should not wait.
    pub(super) async fn wait(&mut self, cx: &Context, held: &Seen, gone: Gone) -> Result<()> {
        let waited = self.began.elapsed();
        let bound = match self.request.policy.wait {
            Wait::Fail => return Err(self.conflict(held, gone, None)),
            Wait::Queue(bound) | Wait::Latest(bound) => bound,
        };
        let Some(left) = bound.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(self.conflict(held, gone, Some(waited)));
        };
        self.announce().await?;
        self.check_others().await?;
        self.say(cx, held, bound);
        let moment = (self.request.policy.term / 16).clamp(Duration::from_millis(5), Duration::from_secs(1));
        cx.sleep("lock.acquire", moment.min(left)).await
    }

    fn say(&mut self, cx: &Context, held: &Seen, bound: Duration) {
        if self.said.is_none_or(|said| said.elapsed() >= REPORT) {
            self.said = Some(Instant::now());
            let waited = self.began.elapsed();
            cx.status(format!("waits for {} ({waited:.0?} of {bound:?})", self.held_by(held)));
        }
    }

    fn held_by(&self, held: &Seen) -> String {
        format!("{}, which is held by {}", self.ground.keys.environment(), held.who())
    }

    fn conflict(&self, held: &Seen, gone: Gone, waited: Option<Duration>) -> Error {
        let waited = waited.map(|waited| format!("; waited for {waited:.0?}")).unwrap_or_default();
        let message = format!("{} is held by {}{waited}", self.ground.keys.environment(), held.who());
        let advice = match gone {
            Gone::No => "wait for it; as soon as it ends, or is killed, the environment is free".to_owned(),
            _ => format!("wait for it; if it is gone, its lock is taken over after {:?}", patience(held.term)),
        };
        Error::new(ErrorKind::Conflict, "lock.acquire", message).advice(advice)
    }

    /// Puts our ticket there, and shows that we live.
    async fn announce(&mut self) -> Result<()> {
        match &mut self.ticket {
            None => self.ticket = Some(self.queue_up().await?),
            Some(own) if own.beaten.elapsed() >= self.request.policy.pace() => {
                own.beat += 1;
                own.beaten = Instant::now();
                let line = beats::line(self.ground, own.beat)?;
                let store = &self.ground.store;
                let key = layout::beat(&own.folder, own.beat);
                // When a beat fails or takes too long, others do not see us, and nothing else happens.
                let created = timeout(self.request.policy.pace(), store.create(&key, line.into())).await;
                if created.is_ok_and(|created| created.is_ok()) {
                    let _ = store.remove(&layout::beat(&own.folder, own.beat - 1)).await;
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn queue_up(&self) -> Result<Own> {
        let nonce = self.ground.nonce();
        let claim = Claim::new(self.ground.keys.environment(), &nonce);
        let folder = format!("{}/{nonce}", self.ground.keys.waiting());
        let ticket = Ticket {
            schema: SCHEMA,
            nonce,
            run: self.request.run.to_owned(),
            holder: self.request.holder.clone(),
            since: self.ground.now(),
            landing: self.request.landing,
        };
        let (line, _) = seal::seal(&ticket)?;
        self.ground.store.create(&format!("{folder}/ticket"), line.into()).await?;
        Ok(Own { folder, beat: 0, beaten: Instant::now(), _claim: claim })
    }

    /// Fails if it should give way to a newer release that waits too.
    pub(super) async fn check_others(&mut self) -> Result<()> {
        let (Wait::Latest(_), Landing::Forward(own)) = (self.request.policy.wait, self.request.landing) else {
            return Ok(());
        };
        let ground = self.ground;
        for (nonce, beat) in self.list_others().await? {
            let other = self.meet(&nonce, beat).await;
            let Some(ticket) = &other.ticket else { continue };
            let Some(newer) = ticket.landing.sequence().filter(|theirs| *theirs > own) else { continue };
            let lives = other.first != beat || ground.is_gone(&ticket.holder, &ticket.nonce) == Gone::No;
            if lives {
                let message = format!("release {own} was superseded by release {newer}, which waits too");
                return Err(Error::new(ErrorKind::Conflict, "lock.acquire", message)
                    .with("run", &ticket.run)
                    .with("holder", &ticket.holder)
                    .advice("nothing needs to be done: the newer release comes next"));
            }
        }
        Ok(())
    }

    /// The newest beat of each other ticket.
    async fn list_others(&self) -> Result<BTreeMap<String, Option<u64>>> {
        let (prefix, mut others) = (self.ground.keys.waiting(), BTreeMap::new());
        for key in self.ground.store.list(&prefix).await? {
            let own = self.ticket.as_ref().is_some_and(|own| key.starts_with(&own.folder));
            let Some((nonce, _)) = key[prefix.len()..].trim_start_matches('/').split_once('/') else { continue };
            if !own {
                let newest: &mut Option<u64> = others.entry(nonce.to_owned()).or_default();
                *newest = layout::newest_beat(std::slice::from_ref(&key)).max(*newest);
            }
        }
        Ok(others)
    }

    /// What is known of the ticket `nonce`. One that cannot be read yet is read again.
    async fn meet(&mut self, nonce: &str, beat: Option<u64>) -> &Other {
        let key = format!("{}/{nonce}/ticket", self.ground.keys.waiting());
        let other = self.others.entry(nonce.to_owned()).or_insert(Other { ticket: None, first: beat });
        if other.ticket.is_none() {
            other.ticket = layout::read(self.ground.store.as_ref(), &key).await.ok().flatten();
        }
        other
    }

    /// Takes our ticket away. What cannot be removed is ignored by others, since its beat does not move.
    pub(super) async fn leave(self) {
        let Some(own) = self.ticket else { return };
        for key in self.ground.store.list(&own.folder).await.unwrap_or_default() {
            let _ = self.ground.store.remove(&key).await;
        }
    }
}
