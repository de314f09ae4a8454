//! What weakens an engine's promises where it is: for `ensue doctor`.

use serde::Serialize;

use super::table::{Url, engines};
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
    match url.scheme.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" | "memory" => {
            let entry = engines().iter().find(|entry| entry.scheme == url.scheme);
            check_options(&url, entry.map_or(&[], |entry| entry.options), &[])?;
            super::embedded::examine(url).await
        }
        #[cfg(feature = "rabbitmq")]
        "amqp" => {
            check_options(&url, super::rabbitmq::OPTIONS, SERVER_OPTIONS)?;
            examine_log(super::rabbitmq::connect(url).await?).await
        }
        #[cfg(feature = "redis")]
        "redis" => {
            check_options(&url, super::redis::OPTIONS, SERVER_OPTIONS)?;
            examine_log(super::redis::connect(url).await?).await
        }
        scheme => Err(missing(&url, scheme)),
    }
}

#[cfg(feature = "distributed")]
use super::shared_log::SERVER_OPTIONS;

#[cfg(feature = "distributed")]
#[allow(dead_code, reason = "with the feature of an engine only")]
async fn examine_log(
    log: std::sync::Arc<dyn super::shared_log::SharedLog>,
) -> Result<Vec<Finding>> {
    let findings = log.examine().await;
    log.close().await;
    findings
}

type Options = [(&'static str, &'static str)];

fn check_options(url: &Url, own: &Options, shared: &Options) -> Result<()> {
    let known = || own.iter().chain(shared).map(|(name, _)| *name);
    match url
        .options
        .iter()
        .find(|(name, _)| !known().any(|known| known == name))
    {
        None => Ok(()),
        Some((name, _)) => {
            let known: Vec<_> = known().collect();
            let known = known.join(", ");
            let scheme = &url.scheme;
            Err(url.invalid(format!(
                "it has no option `{name}`; `{scheme}` takes {known}"
            )))
        }
    }
}

fn missing(url: &Url, scheme: &str) -> Error {
    const LEFT_OUT: &[(&str, &str)] = &[
        ("embedded", "embedded"),
        ("memory", "embedded"),
        ("amqp", "rabbitmq"),
        ("redis", "redis"),
    ];
    match LEFT_OUT.iter().find(|(known, _)| *known == scheme) {
        Some((scheme, feature)) => Error::FeatureMissing { scheme, feature },
        None => url.invalid(format!("`{scheme}` is not an engine")),
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
            (
                "amqp://host?colour=red",
                "no option `colour`; `amqp` takes replicas, namespace",
            ),
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
