//! What a look at the server tells: which promises it keeps, and what to do about the others.

use async_nats::jetstream::stream::Info;
use serde_json::Value;

use super::Nats;
use super::link::Link;
use crate::error::Result;
use crate::shared_log::Finding;
use crate::time::Timestamp;

/// How far the server's clock may be from ours, in milliseconds.
const SKEW_MS_MAX: i64 = 1000;

impl Nats {
    pub(super) async fn findings(&self) -> Result<Vec<Finding>> {
        let link = self.link().await?;
        let info = self.info(&link).await?;
        let account = self.ask(&link, "INFO".to_owned()).await?;
        Ok(vec![
            self.version(&link),
            durability(&info),
            replication(&info),
            permissions(&info),
            space(&info, &account),
            self.clock(&link).await?,
        ])
    }

    fn version(&self, link: &Link) -> Finding {
        let version = link.context.client().server_info().version;
        let is_kept = link.context.client().is_server_compatible(2, 11, 0);
        Finding {
            aspect: "version".to_owned(),
            found: format!("NATS {version}"),
            weakens: (!is_kept).then(|| "no promise, but it gets no corrections any more".into()),
            advice: (!is_kept).then(|| "upgrade it to a version that is maintained".into()),
        }
    }

    /// What the server says to a request, with what only newer or only older servers say.
    async fn ask(&self, link: &Link, subject: String) -> Result<Value> {
        let answer = link.context.request(subject, &()).await;
        answer.map_err(|error| self.server.unavailable(error))
    }

    /// What time it is on the server, if it is new enough to tell.
    pub(super) async fn told_time(&self, link: &Link) -> Result<Option<Timestamp>> {
        let subject = format!("STREAM.INFO.{}", self.stream);
        let answer = self.ask(link, subject).await?;
        let told = answer.get("ts").and_then(Value::as_str);
        Ok(told.and_then(|text| text.parse().ok()))
    }

    async fn clock(&self, link: &Link) -> Result<Finding> {
        let before = Timestamp::now();
        let told = self.told_time(link).await?;
        let after = Timestamp::now();
        let skew_ms = told.map(|told| {
            let ours = before.as_micros().midpoint(after.as_micros());
            (told.as_micros() - ours) / 1000
        });
        let is_off = skew_ms.is_some_and(|skew_ms| skew_ms.abs() > SKEW_MS_MAX);
        Ok(Finding {
            aspect: "clock".to_owned(),
            found: match skew_ms {
                Some(skew_ms) => format!("the server's is {skew_ms} ms ahead of this host's"),
                None => "the server does not tell its time (NATS 2.10 and later do)".to_owned(),
            },
            weakens: is_off.then(|| "schedules and retries are due at the wrong time".into()),
            advice: is_off.then(|| "synchronise the clocks of both hosts".into()),
        })
    }
}

fn durability(info: &Info) -> Finding {
    let copies = match info.config.num_replicas {
        0 | 1 => "a power cut of the server".to_owned(),
        copies => format!("a power cut of most of the {copies} servers at once"),
    };
    Finding {
        aspect: "durability".to_owned(),
        found: "what is acknowledged survives the server's end; when it reaches the disk is set \
                by the server's `sync_interval`, which no client can read (2 minutes unless set)"
            .to_owned(),
        weakens: Some(format!(
            "what was acknowledged last may be gone after {copies}"
        )),
        advice: Some(
            "set `sync_interval: always` in the `jetstream` block of the server's configuration"
                .to_owned(),
        ),
    }
}

fn replication(info: &Info) -> Finding {
    let wanted = info.config.num_replicas.max(1);
    let behind = info.cluster.as_ref().map_or(0, |cluster| {
        let replicas = cluster.replicas.iter();
        replicas.filter(|it| it.offline || !it.current).count()
    });
    let weakens = match (wanted, behind) {
        (1, _) => Some("the log is away with its one server, and gone with its disk".to_owned()),
        (_, 0) => None,
        _ => Some("fewer servers may fail than `replicas` says".to_owned()),
    };
    let advice = match wanted {
        1 => "run three servers or more, and set `replicas=3` or edit the stream",
        _ => "bring the other servers of the stream back",
    };
    Finding {
        aspect: "replication".to_owned(),
        found: format!("{wanted} copies, {behind} of them behind or away"),
        advice: weakens.is_some().then(|| advice.to_owned()),
        weakens,
    }
}

/// The stream does not deny that messages are removed: NATS never takes that back, and such a stream
/// only grows.
fn permissions(info: &Info) -> Finding {
    let denied = match (info.config.deny_delete, info.config.deny_purge) {
        (true, true) => "`deny_delete` and `deny_purge`",
        (true, false) => "`deny_delete`",
        (false, true) => "`deny_purge`",
        (false, false) => {
            return Finding::well(
                "permissions",
                "the log may be read and appended to; users who may not remove its messages need \
                 a user without `$JS.API.STREAM.DELETE`, `STREAM.PURGE` and `STREAM.MSG.DELETE`",
            );
        }
    };
    Finding::weak(
        "permissions",
        format!("the stream has {denied}, which NATS never unsets"),
        "no promise, but the log can never be trimmed on the server: it grows until its disk is \
         full",
        "move to a new `namespace` with `ensue migrate` before the disk is full; streams made by \
         this version have neither",
    )
}

fn space(info: &Info, account: &Value) -> Finding {
    // Unlimited is -1 or 0.
    let of_stream = u64::try_from(info.config.max_bytes).unwrap_or(0);
    let of_account = account.pointer("/limits/max_storage");
    let used = account.get("storage").and_then(Value::as_u64);
    let limits = [
        (
            "the account",
            of_account.and_then(Value::as_u64).unwrap_or(0),
            used.unwrap_or(0),
        ),
        ("the stream", of_stream, info.state.bytes),
    ];
    let limits = limits.into_iter().filter(|(_, max, _)| *max > 0);
    let fullest = limits.max_by_key(|(_, max, used)| used.saturating_mul(1000) / max);
    let Some((whose, max, used)) = fullest else {
        return Finding {
            aspect: "space".to_owned(),
            found: format!(
                "{} bytes used, without a limit but the disk's",
                info.state.bytes
            ),
            weakens: None,
            advice: None,
        };
    };
    let is_tight = used > max / 10 * 9;
    Finding {
        aspect: "space".to_owned(),
        found: format!("{used} of the {max} bytes of {whose} are used"),
        weakens: is_tight.then(|| "appends stop when it is full".into()),
        advice: is_tight.then(|| "raise the limit of storage".into()),
    }
}
