//! Building one version of a projection: waiting until it has no owner, taking it over, and again.

use std::sync::Arc;
use std::time::Duration;

use ensue::Engine;
use tokio::sync::watch;
use tokio::time::Instant;

use super::definition::Definition;
use super::lane::Ended;
use super::names::Names;
use super::position::{self, Owner};
use super::sql::Sql;
use super::switch;
use super::term::{self, BEAT, Claimed};
use super::version::{self, Version};
use crate::database::Database;
use crate::error::Result;

/// The longest wait before what was lost is taken over again.
const AGAIN_WAIT_MAX: Duration = Duration::from_millis(200);
/// How long to wait after something that passes.
const AWAY_WAIT: Duration = Duration::from_secs(1);

/// Builds a version until it is told to stop, or the version is retired.
pub(super) async fn build<P: Send + Sync + 'static, DB: Database>(
    definition: Arc<Definition<P, DB>>,
    engine: Engine,
    number: i64,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let names = definition.names(number);
    let mut watched: Option<(Version, Instant)> = None;
    loop {
        let pause = match take_turn(&definition, &engine, &names, &mut watched, &mut stop).await {
            Ok(Turn::Over) => return Ok(()),
            Ok(Turn::Wait) => BEAT,
            // Whoever has replaced it gets somewhere first.
            Ok(Turn::Again) => AGAIN_WAIT_MAX.mul_f64(fastrand::f64()),
            Err(error) if error.is_passing() => {
                tracing::warn!(group = names.group(), %error, "the projection waits and begins again");
                AWAY_WAIT
            }
            Err(error) => return Err(error),
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

enum Turn {
    /// There is nothing to build any more.
    Over,
    /// Another one builds it.
    Wait,
    /// It has to be taken over again.
    Again,
}

async fn take_turn<P: Send + Sync + 'static, DB: Database>(
    definition: &Arc<Definition<P, DB>>,
    engine: &Engine,
    names: &Arc<Names>,
    watched: &mut Option<(Version, Instant)>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Turn> {
    let seen = {
        let mut connection = definition.pool.acquire().await?;
        let all = version::versions::<DB>(&mut connection, Some(names.projection()), false).await?;
        version::find(all, names.projection(), names.version())?
    };
    if seen.is_retired {
        return Ok(Turn::Over);
    }
    // A log that one process owns has nobody else who could build from it.
    let is_alone = !engine.guarantees().multi_process;
    if !is_alone && seen.owner.is_some() && !is_silent(definition, &seen, watched) {
        return Ok(Turn::Wait);
    }
    *watched = None;
    let Some(claimed) = claim(definition, names, &seen).await? else {
        return Ok(Turn::Wait);
    };
    create(definition, names).await?;
    let owner = claimed.owner.clone();
    tracing::info!(
        group = owner.name,
        epoch = owner.epoch,
        "builds the projection"
    );
    let ended = term::run(definition, engine, Arc::clone(names), claimed, stop).await;
    let turn = match ended {
        Err(Ended::Lost) => {
            tracing::info!(group = owner.name, "replaced, or the database was put back");
            return Ok(Turn::Again);
        }
        Err(Ended::Failed(error)) => Err(error),
        Ok(()) => Ok(Turn::Over),
    };
    let released = release(definition, names, &owner).await;
    turn.and_then(|turn| released.map(|()| turn))
}

/// Whether an owner has said nothing for so long that it counts as gone. Nobody's clock is compared with
/// another's: it is this process that has waited.
fn is_silent<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    seen: &Version,
    watched: &mut Option<(Version, Instant)>,
) -> bool {
    let is_as_before = |before: &Version| (before.epoch, before.beat) == (seen.epoch, seen.beat);
    match watched {
        Some((before, since)) if is_as_before(before) => {
            since.elapsed() >= definition.settings.takeover
        }
        _ => {
            *watched = Some((seen.clone(), Instant::now()));
            false
        }
    }
}

/// Takes a version over, in one transaction: from here on its positions refuse whoever had them before.
async fn claim<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    names: &Names,
    seen: &Version,
) -> Result<Option<Claimed>> {
    let mut transaction = definition.pool.begin_with(DB::BEGIN).await?;
    let me = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
    let Some(epoch) = version::claim::<DB>(&mut transaction, seen, &me).await? else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let owner = Owner {
        name: names.group(),
        epoch,
    };
    if position::lanes::<DB>(&mut transaction, &owner.name)
        .await?
        .is_empty()
    {
        position::create::<DB>(&mut transaction, &owner.name, definition.settings.lanes).await?;
    }
    position::claim::<DB>(&mut transaction, &owner).await?;
    let rows = position::lanes::<DB>(&mut transaction, &owner.name).await?;
    let aside = position::aside::<DB>(&mut transaction, &owner.name).await?;
    transaction.commit().await?;
    let wanted = definition.settings.lanes;
    if rows.len() != wanted {
        let has = rows.len();
        tracing::warn!(
            group = owner.name,
            has,
            wanted,
            "the number of lanes is that of a version's beginning"
        );
    }
    Ok(Some(Claimed { owner, rows, aside }))
}

async fn release<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    names: &Names,
    owner: &Owner,
) -> Result<()> {
    let mut connection = definition.pool.acquire().await?;
    position::leave::<DB>(&mut connection, owner).await?;
    let which = (names.projection(), names.version());
    version::release::<DB>(&mut connection, which, owner.epoch).await
}

/// Creates the version's tables, and the views of the one that is read.
async fn create<P: Send + Sync + 'static, DB: Database>(
    definition: &Definition<P, DB>,
    names: &Arc<Names>,
) -> Result<()> {
    let transaction = definition.pool.begin_with(DB::BEGIN).await?;
    let mut sql = Sql::<DB>::new(transaction, Arc::clone(names));
    for statement in &definition.create {
        DB::run(&mut sql, names.expand(statement)).await?;
    }
    // As it is now: an operator may have switched since the version was looked at.
    let all = version::versions::<DB>(&mut sql, Some(names.projection()), true).await?;
    if version::find(all, names.projection(), names.version())?.is_active {
        switch::show::<DB>(&mut sql, names).await?;
    }
    sql.commit().await?;
    Ok(())
}
