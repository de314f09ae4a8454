//! What a Redis server says of itself, and what that means to the log on it.

use std::collections::HashMap;

use redis::Value;

use super::failure::{failure, strange};
use super::link::{Link, number};
use super::{ANSWER, About, Finding, Place, Server};
use crate::error::Result;
use crate::server_clock::of_clock;
use crate::socket;
use crate::time::Timestamp;

/// The oldest major version: blocking reads and scripts behave as they do here from then on.
const MAJOR_MIN: u32 = 6;

#[derive(Clone, Debug)]
pub(super) struct Facts {
    name: &'static str,
    version: String,
    is_replica: bool,
    replicas: u32,
    is_append_only: bool,
    /// `None` when it may not be asked for.
    fsync: Option<String>,
    eviction: String,
    memory_bytes_max: u64,
    memory_bytes: u64,
    is_loading: bool,
    is_written: bool,
    replicas_wanted: u32,
    /// The longest string it takes.
    pub(super) bulk_bytes_max: usize,
}

/// Connects to the first address whose server can keep a log. Takes no longer than one answer may,
/// over all addresses.
pub(super) async fn open(place: &Place) -> Result<(Link, Facts)> {
    let open = async |address| {
        let link = Link::open(place, address).await?;
        let facts = Facts::of(&link, place).await?;
        facts.refuse(&place.server)?;
        Ok((link, facts))
    };
    socket::first_fit(&place.server, socket::soon(), open).await
}

impl Facts {
    async fn of(link: &Link, place: &Place) -> Result<Self> {
        let server = &place.server;
        let mut fsync = redis::cmd("CONFIG");
        fsync.arg("GET").arg("appendfsync");
        let mut bulk = redis::cmd("CONFIG");
        bulk.arg("GET").arg("proto-max-bulk-len");
        let asked = vec![redis::cmd("INFO"), fsync, bulk];
        let answers = link.ask_each(server, asked, ANSWER).await?;
        let [info, fsync, bulk] = <[Value; 3]>::try_from(answers).map_err(|_| strange(server))?;
        let info = info
            .extract_error()
            .map_err(|error| failure(server, error))?;
        let info: String = redis::from_redis_value(info).map_err(|_| strange(server))?;
        let fields: HashMap<_, _> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let count = |name: &str| text(name).parse::<u64>().unwrap_or(0);
        let (name, version) = match fields.get("valkey_version") {
            Some(version) => ("Valkey", (*version).to_owned()),
            None => ("Redis", text("redis_version")),
        };
        Ok(Self {
            name,
            version,
            is_replica: text("role") == "slave",
            replicas: u32::try_from(count("connected_slaves")).unwrap_or(u32::MAX),
            is_append_only: count("aof_enabled") == 1,
            // Providers forbid it, or answer nothing.
            fsync: setting(fsync),
            eviction: text("maxmemory_policy"),
            memory_bytes_max: count("maxmemory"),
            memory_bytes: count("used_memory"),
            is_loading: count("loading") == 1,
            is_written: text("aof_last_write_status") != "err",
            replicas_wanted: place.replicas,
            bulk_bytes_max: setting(bulk)
                .and_then(|bytes| bytes.parse().ok())
                .unwrap_or(usize::MAX),
        })
    }

    /// Refuses a server that cannot keep a log.
    fn refuse(&self, server: &Server) -> Result<()> {
        let major = self.version.split('.').next().unwrap_or_default();
        if !major.parse::<u32>().is_ok_and(|major| major >= MAJOR_MIN) {
            return Err(server.unfit(
                format!("it is {} {}", self.name, self.version),
                format!("update it to {MAJOR_MIN} or later"),
            ));
        }
        if self.is_replica {
            // A failover that is not over looks like this, too.
            return Err(server.unavailable(
                "it is a replica, and cannot be written to; name the address of the primary, or of both",
            ));
        }
        if self.evicts() {
            return Err(server.unfit(
                format!(
                    "it removes messages when its memory is full (`maxmemory-policy {}`)",
                    self.eviction
                ),
                "set `maxmemory-policy noeviction`",
            ));
        }
        if self.is_loading {
            Err(server.unavailable("it is loading its data"))
        } else {
            Ok(())
        }
    }

    fn evicts(&self) -> bool {
        self.eviction.starts_with("allkeys-")
    }

    fn is_durable(&self) -> bool {
        self.is_append_only && self.fsync.as_deref() == Some("always")
    }

    pub(super) fn about(&self) -> About {
        About {
            server: format!("{} {}", self.name, self.version),
            is_durable: self.is_durable(),
        }
    }

    /// One finding per aspect.
    pub(super) async fn findings(&self, link: &Link, place: &Place) -> Result<Vec<Finding>> {
        let mut findings = vec![
            Finding::well("version", format!("{} {}", self.name, self.version)),
            self.durability(),
            self.replication(),
            self.eviction(),
            self.space(),
        ];
        findings.push(permissions(link, place).await?);
        findings.push(clock(link, place).await?);
        Ok(findings)
    }

    fn durability(&self) -> Finding {
        let aspect = "durability";
        let fsync = self.fsync.as_deref().unwrap_or("unknown");
        let found = if self.is_append_only {
            format!("`appendonly yes`, `appendfsync {fsync}`")
        } else {
            "`appendonly no`".to_owned()
        };
        let mend = "set `appendonly yes` and `appendfsync always`";
        match (self.is_append_only, fsync) {
            (true, "always") => Finding::well(aspect, found),
            (true, "everysec") => Finding::weak(
                aspect,
                found,
                "a crash of the server loses the last seconds of what it acknowledged",
                mend,
            ),
            (true, "unknown") => Finding::weak(
                aspect,
                found,
                "what is acknowledged may be lost in a crash of the server: how it writes to disk \
                 may not be asked for",
                "make sure of `appendfsync always`, and allow `CONFIG GET`",
            ),
            (true, _) => Finding::weak(
                aspect,
                found,
                "a power cut loses what the system had not written to disk yet",
                mend,
            ),
            (false, _) => Finding::weak(
                aspect,
                found,
                "a restart of the server loses everything since its last snapshot, or all there is",
                mend,
            ),
        }
    }

    fn replication(&self) -> Finding {
        let aspect = "replication";
        let (there, wanted) = (self.replicas, self.replicas_wanted);
        let found = format!("{there} replicas are connected, appends wait for {wanted}");
        match (there, wanted) {
            _ if wanted > there => Finding::weak(
                aspect,
                found,
                "nothing can be appended: there are too few replicas",
                "start replicas, or lower `replicas` in the URL",
            ),
            (0, _) => Finding::weak(
                aspect,
                found,
                "when the server's disk is lost, so is the log",
                "add replicas, and `replicas=1` or more to the URL",
            ),
            (_, 0) => Finding::weak(
                aspect,
                found,
                "a failover to a replica loses what it had not received",
                "add `replicas=1` or more to the URL",
            ),
            _ => Finding::well(aspect, found),
        }
    }

    fn eviction(&self) -> Finding {
        let found = format!("`maxmemory-policy {}`", self.eviction);
        if self.evicts() {
            Finding::weak(
                "eviction",
                found,
                "the server removes the log when its memory is full",
                "set `maxmemory-policy noeviction`",
            )
        } else {
            Finding::well("eviction", found)
        }
    }

    fn space(&self) -> Finding {
        let used = self.memory_bytes;
        let (found, is_nearly_full) = match self.memory_bytes_max {
            0 => (format!("{used} bytes of memory, no limit"), false),
            max => (
                format!("{used} bytes of memory, of {max}"),
                used.saturating_mul(10) >= max.saturating_mul(9),
            ),
        };
        if !self.is_written {
            return Finding::weak(
                "space",
                "the last write to disk failed".to_owned(),
                "nothing can be appended",
                "look into the server's log; most often its disk is full",
            );
        }
        if is_nearly_full {
            Finding::weak(
                "space",
                found,
                "nothing can be appended once the memory is full",
                "raise `maxmemory`",
            )
        } else {
            Finding::well("space", found)
        }
    }
}

/// Tries what appending and reading need, with nothing to append.
async fn permissions(link: &Link, place: &Place) -> Result<Finding> {
    let mut range = redis::cmd("XRANGE");
    range.arg(&place.log).arg("-").arg("+").arg("COUNT").arg(1);
    let tried = match link.try_append(place).await {
        Ok(()) => link.ask_one(&place.server, range, ANSWER).await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(_) => Ok(Finding::well(
            "permissions",
            "the log may be read and appended to".to_owned(),
        )),
        Err(error) => Ok(Finding::weak(
            "permissions",
            error.to_string(),
            "the log cannot be read or appended to",
            "see what the server says; grant the user the keys `ensue:*`",
        )),
    }
}

async fn clock(link: &Link, place: &Place) -> Result<Finding> {
    Ok(match time(link, place).await? {
        Some(theirs) => of_clock(i128::from(theirs.as_micros() / 1_000)),
        None => Finding::well("clock", "the server does not tell its time"),
    })
}

/// What time it is on the server.
pub(super) async fn time(link: &Link, place: &Place) -> Result<Option<Timestamp>> {
    let answers = link
        .ask_each(&place.server, vec![redis::cmd("TIME")], ANSWER)
        .await?;
    let parts: Option<Vec<u64>> = match answers.first() {
        Some(Value::Array(parts)) => parts.iter().map(number).collect(),
        _ => None,
    };
    let Some([seconds, micros]) = parts.as_deref() else {
        return Ok(None);
    };
    let micros = seconds.saturating_mul(1_000_000).saturating_add(*micros);
    Ok(i64::try_from(micros).ok().map(Timestamp::from_micros))
}

/// What `CONFIG GET` answers: name and value.
fn setting(answer: Value) -> Option<String> {
    let (_, value): (String, String) =
        redis::from_redis_value(answer.extract_error().ok()?).ok()?;
    Some(value)
}
