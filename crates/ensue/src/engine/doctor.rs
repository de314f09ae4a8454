//! What weakens an engine's promises where it is: for `ensue doctor`.

#[cfg(feature = "remote")]
use super::Scheme;
use super::table::entry_of;
use super::{Finding, Url};
use crate::error::{Error, OpenError, Result};

/// Looks at the engine that `url` names, once and without waiting for a server that is away. An
/// embedded log is not opened, so this works while an app owns it; on a server, the log is made if
/// it is not there, as [`connect`](crate::connect) does.
///
/// # Errors
/// [`OpenError::Url`], [`OpenError::FeatureMissing`], and what keeps it from looking:
/// [`EngineError::Unavailable`](crate::error::EngineError::Unavailable), [`OpenError::Unfit`],
/// [`EngineError::Io`](crate::error::EngineError::Io).
pub async fn examine(url: &str) -> Result<Vec<Finding>> {
    let url = Url::parse(url)?;
    let entry = entry_of(&url)?;
    if entry.is_available() {
        entry.check_options(&url)?;
    }
    #[cfg(feature = "distributed")]
    if let Some(connector) = entry.connector() {
        let log = (connector.dial)(url).await?;
        let mut findings = log.examine().await;
        if let Ok(findings) = &mut findings {
            // What keeps it from reading is among the findings already.
            let clocks = ensue_engine::replica::examine_clocks(&*log).await;
            findings.extend(clocks.ok().flatten());
        }
        log.close().await;
        return findings;
    }
    #[cfg(feature = "embedded")]
    if matches!(entry.scheme, "embedded" | "memory") {
        return ensue_engine::examine(url).await;
    }
    #[cfg(feature = "remote")]
    if entry.scheme == Scheme::REMOTE.name {
        return ensue_remote::examine(&url).await;
    }
    Err(Error::Open(OpenError::FeatureMissing {
        scheme: entry.scheme,
        feature: entry.feature,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_looked_at_is_said() {
        for (url, part) in [
            ("./data", "no scheme"),
            ("oracle://db", "`oracle` is not an engine"),
            #[cfg(feature = "embedded")]
            ("memory:?colour=red", "no option `colour`"),
            #[cfg(feature = "rabbitmq")]
            ("amqp://host?colour=red", "no option `colour`"),
            #[cfg(not(feature = "rabbitmq"))]
            ("amqp://host", "the cargo feature `rabbitmq`"),
        ] {
            let error = examine(url).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[cfg(feature = "embedded")]
    #[tokio::test]
    async fn memory_is_gone_with_its_process() {
        let findings = examine("memory:").await.unwrap();
        let durability = findings.iter().find(|it| it.aspect == "durability");
        assert!(durability.unwrap().weakens.is_some());
    }
}
