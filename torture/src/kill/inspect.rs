//! Looks at what a killed process left, without changing it: what opens the log next is another
//! process, which may be killed while it does.

use std::path::Path;

use ensue::engine::embedded::check;
use ensue::engine::{DeadLetter, DeadLetterFilter, Query};
use ensue::error::{EngineError, GroupError};
use ensue::{Error, Position, SharedEngine, connect_reader};

use super::checker::{Checker, FoundLetter, Kind};
use super::orders::{KEYS, Mark, hash, mark_of};
use super::report::{CELL, Group};

/// Looks at what is new, at cells and at dead letters; and at everything, if `is_review`.
pub(crate) fn look(log: &Path, checker: &mut Checker, is_review: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(inspect(log, checker, is_review)),
        Err(error) => return checker.accuse(Kind::Failed, error),
    };
    match outcome {
        Ok(()) => {}
        // The process was killed before there was a log.
        Err(Error::Engine(EngineError::Io { reason: source, .. }))
            if source.kind() == std::io::ErrorKind::NotFound && checker.cursor() == 0 =>
        {
            checker.looked();
        }
        Err(Error::Engine(EngineError::Corrupt(damage))) => checker.accuse(Kind::Altered, damage),
        Err(error) => checker.accuse(Kind::Failed, format_args!("cannot be read: {error}")),
    }
}

async fn inspect(log: &Path, checker: &mut Checker, is_review: bool) -> ensue::Result<()> {
    let engine = connect_reader(&format!("embedded:{}", log.display())).await?;
    let first = engine.status().await?.first.position();
    if first.get() > checker.cursor() {
        // Plans allow for far more than one process writes.
        let what = format!("everything before {first} was removed before it was looked at");
        checker.accuse(Kind::Failed, what);
    }
    let mut query = Query {
        from: Position::new(checker.cursor()).into(),
        ..Query::default()
    };
    read(&engine, &mut query, |recorded| checker.sees(recorded)).await?;
    checker.looked();
    if engine.status().await?.group(Group::Tally.name()).is_some() {
        checker.sees_cells(&cells(&engine).await?);
    }
    checker.sees_letters(&letters(&engine).await?);
    if is_review {
        review(log, &engine, first, checker).await?;
    }
    Ok(())
}

/// Reads everything from `query` on.
async fn read(
    engine: &SharedEngine,
    query: &mut Query,
    mut see: impl FnMut(&ensue::engine::Recorded),
) -> ensue::Result<()> {
    loop {
        let page = engine.read(query.clone()).await?;
        page.events.iter().for_each(&mut see);
        query.from = page.next;
        if page.is_end {
            return Ok(());
        }
    }
}

async fn cells(engine: &SharedEngine) -> ensue::Result<Vec<Option<String>>> {
    let mut cells = Vec::with_capacity(KEYS);
    for key in 0..KEYS {
        let key = Mark(key, 0).key();
        let cell = engine
            .state(Group::Tally.name(), "orders", &key, CELL)
            .await;
        let cell = match cell {
            // It was killed before it had joined.
            Err(Error::Group(GroupError::Unknown { .. })) => None,
            cell => cell?,
        };
        cells.push(cell.map(|cell| String::from_utf8_lossy(&cell).into_owned()));
    }
    Ok(cells)
}

async fn letters(engine: &SharedEngine) -> ensue::Result<Vec<FoundLetter>> {
    let letters = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await?;
    let found = |letter: &DeadLetter| FoundLetter {
        // Key 0 starts at number 1: this is no event's.
        mark: letter
            .envelope
            .as_ref()
            .ok()
            .and_then(mark_of)
            .filter(|_| letter.group == Group::Trials.name())
            .unwrap_or(Mark(0, 0)),
        position: letter.position.get(),
        hash: letter.envelope.as_ref().map_or(0, hash),
        attempts: letter.attempts,
    };
    Ok(letters.iter().map(found).collect())
}

/// Looks at everything that is kept, and at every byte.
async fn review(
    log: &Path,
    engine: &SharedEngine,
    first: Position,
    checker: &mut Checker,
) -> ensue::Result<()> {
    let mut review = checker.review(first.get());
    let mut query = Query {
        from: first.into(),
        ..Query::default()
    };
    read(engine, &mut query, |recorded| {
        checker.sees_again(&mut review, recorded)
    })
    .await?;
    checker.reviewed(&review);
    for damage in check(log, &mut |_| {})?.damage {
        checker.accuse(
            Kind::Altered,
            format_args!("the check found damage: {damage}"),
        );
    }
    Ok(())
}
