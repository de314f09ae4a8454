//! A log on a server, opened while no other process works on it.

use std::time::{Duration, Instant};

use crate::engine::{Driver as _, Url};
use crate::error::{Error, MigrateError, Result};
use crate::replica::{Connector, Link, open_quietly};
use crate::runtime::embedded::Embedded;
use crate::time::Clock;

/// How long it may take beyond some leases that the others are known to be gone: on a busy
/// machine that takes longer than it should.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Opens a log on a server, on which no other process works.
///
/// # Errors
/// See [`wait_alone`], and what opening reports.
pub(super) async fn open(url: Url, connector: Connector) -> Result<Embedded> {
    let (engine, link) = open_quietly(url, connector, Clock::system()).await?;
    match wait_alone(&engine, &link).await {
        Ok(()) => Ok(engine),
        Err(error) => {
            engine.close().await?;
            Err(error)
        }
    }
}

/// Waits until no other process works on the log: one that was killed is known to be gone when
/// its lease is over.
///
/// # Errors
/// [`MigrateError::InUse`] as soon as another is heard of.
async fn wait_alone(engine: &Embedded, link: &Link) -> Result<()> {
    let lease = link.lease();
    let begin = Instant::now();
    loop {
        let others: Vec<_> = {
            let locked = engine.inner().locked();
            let others = locked.state().processes().iter();
            let others = others.filter(|(boot, _)| *boot != locked.boot());
            others.map(|(_, it)| (it.writer, it.name.clone())).collect()
        };
        if others.is_empty() {
            return Ok(());
        }
        // What one that was killed has said is read by then; one that lives speaks more often.
        let since = begin + lease / 2;
        let lives = others.iter().any(|it| link.has_heard(it.0, since));
        if lives || begin.elapsed() > lease * 3 + WAIT_MAX {
            let names: Vec<String> = others.into_iter().map(|(_, name)| name).collect();
            return Err(Error::Migrate(MigrateError::InUse {
                url: engine.url().to_owned(),
                found: names.join(", "),
            }));
        }
        tokio::time::sleep(lease / 8).await;
    }
}
