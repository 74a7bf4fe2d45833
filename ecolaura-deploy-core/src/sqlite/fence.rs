//! Who may change the database: the newest epoch of each environment, kept in it.

use std::collections::BTreeMap;

use super::{
    change::{begin, commit},
    connection::{Mode, Work},
    ledger::Ledger,
};
use crate::{ErrorKind, Result, fence::admit};

/// The newest epochs, by the environment.
pub(super) type Epochs = BTreeMap<String, u64>;

/// Leaves the caller's epoch in the database, and nothing else. The caller holds the lock.
pub(super) async fn claim(work: Work<'_>) -> Result<()> {
    let mut connection = work.connect(Mode::Write).await?;
    let mut transaction = begin(work, &mut connection).await?;
    Ledger::new(work, &mut transaction).admit().await?;
    commit(work, transaction).await?;
    work.close(connection).await;
    Ok(())
}

/// What the database knows, and what the one in its place must know: the caller's epoch too. Fails with `Fenced`. A
/// database that is too damaged to be read knows nothing.
pub(super) async fn admitted(work: Work<'_>) -> Result<(Epochs, Epochs)> {
    let known = match known(work).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Epochs::new(),
        known => known?,
    };
    let environment = work.cx.environment().as_str();
    let newest = admit(work.operation, work.cx, known.get(environment).copied().unwrap_or_default())?;
    let mut wanted = known.clone();
    if newest > 0 {
        wanted.insert(environment.to_owned(), newest);
    }
    Ok((known, wanted))
}

async fn known(work: Work<'_>) -> Result<Epochs> {
    if !work.exists()? {
        return Ok(Epochs::new());
    }
    let mut connection = work.connect(Mode::Read).await?;
    let known = Ledger::new(work, &mut connection).epochs().await?;
    work.close(connection).await;
    Ok(known)
}

/// Leaves `epochs` in a copy that nobody uses yet; the larger number of each environment stays.
pub(super) async fn carry(copy: Work<'_>, epochs: &Epochs) -> Result<()> {
    if epochs.is_empty() {
        return Ok(());
    }
    let mut connection = copy.connect(Mode::Write).await?;
    // Leaves no journal beside it: a copy that was cut short is made anew.
    copy.execute(&mut connection, "PRAGMA journal_mode = MEMORY").await?;
    let mut ledger = Ledger::new(copy, &mut connection);
    for (environment, epoch) in epochs {
        ledger.remember(environment, *epoch).await?;
    }
    copy.close(connection).await;
    Ok(())
}
