//! What a look at the cluster tells: which promises it keeps, and what to do about the others.

use super::Kafka;
use super::connection::{Connection, refused};
use super::protocol::{self, BROKER_RESOURCE};
use crate::error::Result;
use crate::shared_log::{Finding, SharedLog};

pub(super) const COMPRESSION_ADVICE: &str = "set the topic's `compression.type` to `uncompressed`";

/// A topic's or a broker's settings, by name.
#[derive(Debug)]
pub(super) struct Settings(pub(super) Vec<(String, String)>);

impl Settings {
    fn text(&self, name: &str) -> Option<&str> {
        let mut settings = self.0.iter();
        let found = settings.find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }
}

/// What in a topic's settings would lose messages, if anything.
pub(super) fn forgets(settings: &Settings) -> Option<String> {
    if settings.text("cleanup.policy")?.contains("compact") {
        return Some("is compacted: it removes messages".to_owned());
    }
    let limits = ["retention.ms", "retention.bytes"];
    let limit = limits
        .into_iter()
        .find(|name| settings.number::<i64>(name).is_some_and(|limit| limit >= 0));
    limit.map(|limit| format!("has `{limit}`: it removes old messages"))
}

/// Whether every message is on the disk when it is acknowledged.
pub(super) fn is_durable(settings: &Settings) -> bool {
    settings.number("flush.messages") == Some(1_u64)
}

impl Kafka {
    pub(super) async fn findings(&self, connection: &mut Connection) -> Result<Vec<Finding>> {
        let known = connection.ask(protocol::metadata(&self.topic), protocol::read_metadata);
        let known = known.await?;
        let settings = self.settings(connection).await?;
        let leader = self.leader_in(&known)?;
        let broker = protocol::describe(BROKER_RESOURCE, &leader.to_string());
        let (refusal, broker) = connection.ask(broker, protocol::read_describe).await?;
        let is_forbidden = refused(&self.server, refusal, None).is_some();
        let (copies, in_sync) = known
            .partitions
            .first()
            .map_or((0, 0), |&(_, _, copies, in_sync)| (copies, in_sync));
        Ok(vec![
            self.version(),
            durability(&settings, copies),
            replication(&settings, copies, in_sync),
            permissions(is_forbidden),
            space(&settings, &Settings(broker)),
            clock(),
        ])
    }

    fn version(&self) -> Finding {
        Finding {
            aspect: "version".to_owned(),
            found: self.about().server,
            weakens: None,
            advice: None,
        }
    }
}

fn durability(settings: &Settings, copies: usize) -> Finding {
    let is_kept = is_durable(settings);
    let cut = match copies {
        0 | 1 => "of the broker".to_owned(),
        copies => format!("of all {copies} brokers at once"),
    };
    Finding {
        aspect: "durability".to_owned(),
        found: if is_kept {
            "every message is on the disk when it is acknowledged".to_owned()
        } else {
            "messages are acknowledged when they are in the brokers' memory".to_owned()
        },
        weakens: (!is_kept)
            .then(|| format!("what was acknowledged last may be gone after a power cut {cut}")),
        advice: (!is_kept).then(|| {
            "set the topic's `flush.messages` to 1, or keep it on brokers with power of their own"
                .to_owned()
        }),
    }
}

fn replication(settings: &Settings, copies: usize, in_sync: usize) -> Finding {
    let needed = settings.number("min.insync.replicas").unwrap_or(1_usize);
    let is_clean = settings.text("unclean.leader.election.enable") != Some("true");
    let (weakens, advice) = if copies < 2 {
        (
            "the log is away with its one broker, and gone with its disk",
            "create it with `replication=3` on three brokers or more",
        )
    } else if !is_clean {
        (
            "a broker that is behind may become the leader, and what it lacks is lost",
            "set the topic's `unclean.leader.election.enable` to false",
        )
    } else if needed < 2 {
        (
            "what is acknowledged may be on one broker alone, and lost with it",
            "set the topic's `min.insync.replicas` to 2",
        )
    } else if in_sync < copies {
        (
            "fewer brokers may fail than there are copies",
            "bring the other brokers back",
        )
    } else {
        ("", "")
    };
    Finding {
        aspect: "replication".to_owned(),
        found: format!("{copies} copies, {in_sync} in sync, {needed} needed to append"),
        weakens: (!weakens.is_empty()).then(|| weakens.to_owned()),
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
    }
}

fn permissions(is_forbidden: bool) -> Finding {
    Finding {
        aspect: "permissions".to_owned(),
        found: if is_forbidden {
            "the topic can be used; the broker's settings may not be looked at".to_owned()
        } else {
            "the topic and the broker's settings can be read".to_owned()
        },
        weakens: is_forbidden.then(|| "no promise, but less can be examined".to_owned()),
        advice: is_forbidden.then(|| "allow the user to describe the cluster's settings".into()),
    }
}

fn space(topic: &Settings, broker: &Settings) -> Finding {
    let largest = topic.text("max.message.bytes").unwrap_or("unknown");
    let kept = broker.text("log.dirs").map(|it| format!(" in `{it}`"));
    Finding {
        aspect: "space".to_owned(),
        found: format!(
            "nothing is removed{}; the largest batch has {largest} bytes; a broker does not say \
             how much space is left",
            kept.unwrap_or_default()
        ),
        weakens: None,
        advice: None,
    }
}

fn clock() -> Finding {
    Finding {
        aspect: "clock".to_owned(),
        found: "a broker does not tell its time".to_owned(),
        weakens: None,
        advice: None,
    }
}
