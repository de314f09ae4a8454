//! What weakens an engine's promises where it is: for `ensue doctor`.

use serde::Serialize;

use super::table::{EngineEntry, Url, engines};
use crate::error::{Error, Result};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `durability`.
    pub aspect: String,
    /// What was found.
    pub found: String,
    /// Which promise it weakens, and how; `None` is all well.
    pub weakens: Option<String>,
    /// How to mend it.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding that weakens nothing.
    pub(crate) fn well(aspect: &str, found: impl Into<String>) -> Self {
        Self {
            aspect: aspect.to_owned(),
            found: found.into(),
            weakens: None,
            advice: None,
        }
    }

    /// A finding that weakens a promise.
    pub(crate) fn weak(
        aspect: &str,
        found: impl Into<String>,
        weakens: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            weakens: Some(weakens.into()),
            advice: Some(advice.into()),
            ..Self::well(aspect, found)
        }
    }
}

/// Looks at the engine that `url` names, once and without waiting for a server that is away. An
/// embedded log is not opened, so this works while an app owns it; on a server, the log is made if
/// it is not there, as [`connect`](crate::connect) does.
///
/// # Errors
/// [`Error::Url`], [`Error::FeatureMissing`], and what keeps it from looking:
/// [`Error::Unavailable`], [`Error::Unfit`], [`Error::Io`].
pub async fn examine(url: &str) -> Result<Vec<Finding>> {
    let url = Url::parse(url)?;
    let Some(entry) = engines().iter().find(|entry| entry.scheme == url.scheme) else {
        return Err(url.invalid(format!("`{}` is not an engine", url.scheme)));
    };
    if entry.is_available() {
        check_options(&url, entry)?;
    }
    match entry.scheme {
        #[cfg(feature = "embedded")]
        "embedded" | "memory" => super::embedded::examine(url).await,
        #[cfg(feature = "nats")]
        "nats" => examine_log(super::nats::connect(url)).await,
        #[cfg(feature = "kafka")]
        "kafka" => examine_log(super::kafka::connect(url)).await,
        #[cfg(feature = "rabbitmq")]
        "amqp" => examine_log(super::rabbitmq::connect(url)).await,
        #[cfg(feature = "redis")]
        "redis" => examine_log(super::redis::connect(url)).await,
        #[cfg(feature = "postgres")]
        "postgres" => examine_log(super::postgres::connect(url)).await,
        scheme => Err(Error::FeatureMissing {
            scheme,
            feature: entry.feature,
        }),
    }
}

#[cfg(feature = "distributed")]
#[allow(
    dead_code,
    reason = "only engines bring the feature, but it can be had alone"
)]
async fn examine_log(
    connecting: impl Future<Output = Result<std::sync::Arc<dyn super::shared_log::SharedLog>>>,
) -> Result<Vec<Finding>> {
    let log = connecting.await?;
    let findings = log.examine().await;
    log.close().await;
    findings
}

fn check_options(url: &Url, entry: &EngineEntry) -> Result<()> {
    let is_known = |name: &str| entry.options().any(|(known, _)| known == name);
    match url.options.iter().find(|(name, _)| !is_known(name)) {
        None => Ok(()),
        Some((name, _)) => Err(url.invalid(format!(
            "it has no option `{name}`; `ensue engines` lists those of `{}`",
            url.scheme
        ))),
    }
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
