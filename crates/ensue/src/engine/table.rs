//! The table of engines: one line each. The URL parser, the help, the documentation and the
//! contract suite read it.

use ensue_core::engine::options;
use std::fmt;
use std::time::Duration;

use super::{Atomicity, DedupWindow, Guarantees, Scheme, SharedEngine, Url};
use crate::error::{Error, OpenError, Result};
use crate::time::Clock;
#[cfg(feature = "embedded")]
use ensue_engine::migrate::Place;
#[cfg(feature = "distributed")]
use ensue_engine::replica::Connector;
#[cfg(feature = "distributed")]
use ensue_engine::shared_log::Server;

/// One kind of engine.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct EngineEntry {
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// An example of a URL.
    pub example: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    options: Options,
    /// The cargo feature that compiles it in.
    pub feature: &'static str,
    /// What becomes of acknowledged events when the power fails, with the defaults of the server;
    /// `ensue doctor` looks at the one at hand.
    pub power_cut: &'static str,
    /// What it promises with its own and its server's defaults, whether it is compiled in or not.
    pub guarantees: Guarantees,
    /// Where its log is, if it is compiled in.
    home: Option<Home>,
}

/// Names and meanings, in groups that engines share.
type Options = &'static [&'static [(&'static str, &'static str)]];

/// Where an engine's log is.
#[derive(Clone, Copy)]
enum Home {
    #[cfg(feature = "embedded")]
    Directory,
    #[cfg(feature = "embedded")]
    Memory,
    #[cfg(feature = "distributed")]
    Server(Connector),
    #[cfg(feature = "remote")]
    Process,
}

impl EngineEntry {
    /// Whether it is compiled in.
    pub fn is_available(&self) -> bool {
        self.home.is_some()
    }

    fn home(&self) -> Result<Home> {
        self.home.ok_or(Error::Open(OpenError::FeatureMissing {
            scheme: self.scheme,
            feature: self.feature,
        }))
    }

    /// How its server is connected to, if it has one.
    #[cfg(feature = "distributed")]
    pub(super) fn connector(&self) -> Option<Connector> {
        match self.home {
            Some(Home::Server(connector)) => Some(connector),
            _ => None,
        }
    }

    pub(super) fn check_options(&self, url: &Url) -> Result<()> {
        let known: Vec<_> = self.options().map(|(name, _)| name).collect();
        url.check_options(&known)
    }

    /// The URL's options: name and meaning. Of an engine that is not compiled in: none.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.options.iter().flat_map(|some| some.iter().copied())
    }
}

impl fmt::Debug for EngineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.scheme, self.summary)
    }
}

#[cfg(feature = "embedded")]
const EMBEDDED: (Option<Home>, Option<Home>) = (Some(Home::Directory), Some(Home::Memory));
#[cfg(not(feature = "embedded"))]
const EMBEDDED: (Option<Home>, Option<Home>) = (None, None);

/// How a distributed engine's server is connected to, if it is compiled in.
macro_rules! server {
    ($feature:literal, $module:ident) => {{
        #[cfg(feature = $feature)]
        const HOME: Option<Home> = Some(Home::Server(ensue_brokers::$module::CONNECTOR));
        #[cfg(not(feature = $feature))]
        const HOME: Option<Home> = None;
        HOME
    }};
}

/// What the URLs of a distributed engine take: its own options last.
macro_rules! distributed_options {
    ($feature:literal, $module:ident) => {{
        #[cfg(feature = $feature)]
        const OPTIONS: Options = &[
            ensue_engine::shared_log::SERVER_OPTIONS,
            ensue_engine::replica::OPTIONS,
            ensue_brokers::$module::OPTIONS,
        ];
        #[cfg(not(feature = $feature))]
        const OPTIONS: Options = &[];
        OPTIONS
    }};
}

#[cfg(feature = "remote")]
const REMOTE: (Option<Home>, Options) = (Some(Home::Process), &[ensue_remote::OPTIONS]);
#[cfg(not(feature = "remote"))]
const REMOTE: (Option<Home>, Options) = (None, &[]);

/// How many ids every engine remembers unless it is told otherwise.
const DEDUP_EVENTS: u64 = 1 << 20;

/// What the embedded engine promises on a disk, and without one.
const fn embedded(survives_restart: bool) -> Guarantees {
    Guarantees {
        durable_on_acknowledge: true,
        survives_restart,
        commit: Atomicity::Atomic,
        dedup: DedupWindow::Events(DEDUP_EVENTS),
        conditional_append: true,
        schedules: true,
        replay: true,
        multi_process: false,
        failover: Duration::ZERO,
    }
}

/// What the engines promise whose log lies on a server.
const fn shared(durable_on_acknowledge: bool) -> Guarantees {
    Guarantees {
        durable_on_acknowledge,
        multi_process: true,
        failover: Duration::from_secs(10),
        ..embedded(true)
    }
}

const ENGINES: &[EngineEntry] = &[
    EngineEntry {
        scheme: Scheme::EMBEDDED.name,
        example: Scheme::EMBEDDED.example,
        summary: "a durable log in a directory, inside this process; no server",
        options: &[EMBEDDED_OPTIONS],
        feature: "embedded",
        power_cut: "nothing is lost",
        guarantees: embedded(true),
        home: EMBEDDED.0,
    },
    EngineEntry {
        scheme: Scheme::MEMORY.name,
        example: Scheme::MEMORY.example,
        summary: "the embedded engine on memory: the same behaviour, gone with the process",
        options: &[EMBEDDED_OPTIONS],
        feature: "embedded",
        power_cut: "everything is lost, as when the process ends",
        guarantees: embedded(false),
        home: EMBEDDED.1,
    },
    EngineEntry {
        scheme: Scheme::NATS.name,
        example: Scheme::NATS.example,
        summary: "NATS JetStream: a stream that several processes share",
        options: distributed_options!("nats", nats),
        feature: "nats",
        power_cut: "up to two minutes are lost: `sync_interval` is 2m; set it to `always`, or use `replicas=3`",
        guarantees: shared(false),
        home: server!("nats", nats),
    },
    EngineEntry {
        scheme: Scheme::KAFKA.name,
        example: Scheme::KAFKA.example,
        summary: "Apache Kafka: a topic of one partition that several processes share",
        options: distributed_options!("kafka", kafka),
        feature: "kafka",
        power_cut: "what the page cache held is lost with all replicas: Kafka does not sync; use `replication=3` and `min.insync.replicas=2`",
        guarantees: shared(false),
        home: server!("kafka", kafka),
    },
    EngineEntry {
        scheme: Scheme::RABBITMQ.name,
        example: Scheme::RABBITMQ.example,
        summary: "RabbitMQ: a stream queue that several processes share",
        options: distributed_options!("rabbitmq", rabbitmq),
        feature: "rabbitmq",
        power_cut: "what the page cache held is lost with all replicas: streams do not sync; use a cluster",
        guarantees: shared(false),
        home: server!("rabbitmq", rabbitmq),
    },
    EngineEntry {
        scheme: Scheme::REDIS.name,
        example: Scheme::REDIS.example,
        summary: "Redis: a stream that several processes share",
        options: distributed_options!("redis", redis),
        feature: "redis",
        power_cut: "everything without `appendonly yes`, one second with `appendfsync everysec`, nothing with `always`",
        guarantees: shared(false),
        home: server!("redis", redis),
    },
    EngineEntry {
        scheme: Scheme::POSTGRES.name,
        example: Scheme::POSTGRES.example,
        summary: "PostgreSQL: a table that several processes share",
        options: distributed_options!("postgres", postgres),
        feature: "postgres",
        power_cut: "nothing is lost, unless `fsync` or `synchronous_commit` is off",
        guarantees: shared(true),
        home: server!("postgres", postgres),
    },
    EngineEntry {
        scheme: Scheme::REMOTE.name,
        example: Scheme::REMOTE.example,
        summary: "the engine that another process serves (`ensue serve`): for several processes and one log",
        options: REMOTE.1,
        feature: "remote",
        power_cut: "what the server's engine loses: with `embedded:`, nothing",
        guarantees: shared(true),
        home: REMOTE.0,
    },
];

const EMBEDDED_OPTIONS: &[(&str, &str)] = &[
    (
        "durability",
        "`sync` (default): acknowledged is on stable storage; `os`: in the page cache",
    ),
    (
        "dedup_window",
        "how many of the latest event ids are remembered; default 1048576",
    ),
    ("segment_bytes", "size of a segment file; default 67108864"),
    (
        "retention_age",
        "whole segments older than this go, such as `30d`; default: keep all",
    ),
    (
        "retention_bytes",
        "whole segments beyond this many bytes go, at a checkpoint; default: keep all",
    ),
    options::PARKED_MAX,
    options::KEY_EVENTS_MAX,
    options::STATE_BYTES_MAX,
    options::SCHEDULES_MAX,
];

/// Every kind of engine there is, compiled in or not.
pub fn engines() -> &'static [EngineEntry] {
    ENGINES
}

/// Connects to the engine that `url` names.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = ensue::connect("memory:").await?;
/// assert!(engine.guarantees().schedules);
/// engine.close().await?;
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenError::Url`] when the URL or one of its options is unknown, [`OpenError::FeatureMissing`]
/// when the engine is not compiled in, [`OpenError::Locked`] when another process owns the
/// directory.
pub async fn connect(url: &str) -> Result<SharedEngine> {
    connect_with(url, Clock::system()).await
}

/// [`connect`], with a clock of the caller's.
///
/// # Errors
/// As for [`connect`].
#[cfg_attr(
    not(any(feature = "embedded", feature = "remote")),
    allow(
        unused_variables,
        reason = "without an engine, nothing asks for the time"
    )
)]
pub async fn connect_with(url: &str, clock: Clock) -> Result<SharedEngine> {
    let url = Url::parse(url)?;
    let entry = entry_of(&url)?;
    let home = entry.home()?;
    entry.check_options(&url)?;
    match home {
        #[cfg(feature = "embedded")]
        Home::Directory => ensue_engine::open_directory(url, clock).await,
        #[cfg(feature = "embedded")]
        Home::Memory => {
            url.check_nameless()?;
            ensue_engine::open_memory(url, clock).await
        }
        #[cfg(feature = "distributed")]
        Home::Server(connector) => ensue_engine::replica::open(url, connector, clock).await,
        #[cfg(feature = "remote")]
        Home::Process => ensue_remote::open(url, clock).await,
    }
}

/// Removes a whole log from the server that `url` names: every event, every group. For starting
/// over, and for tests. Waits for as long as the URL's `connect_timeout` says.
///
/// # Errors
/// As for [`connect`]; [`OpenError::NoServer`] for an engine without a server.
#[cfg(feature = "distributed")]
pub async fn remove(url: &str) -> Result<()> {
    let url = Url::parse(url)?;
    let entry = entry_of(&url)?;
    let Some(connector) = entry.connector() else {
        return Err(Error::Open(OpenError::NoServer {
            engine: entry.scheme.to_owned(),
        }));
    };
    entry.check_options(&url)?;
    let server = Server::of(&url, connector.port)?;
    let log = (connector.dial)(url).await?;
    let patience = server.connect_timeout;
    let removed = tokio::time::timeout(patience, log.remove()).await;
    log.close().await;
    removed.unwrap_or_else(|_| {
        Err(server.unavailable(format!(
            "the log is not removed everywhere after {patience:?} (`connect_timeout`); remove it again"
        )))
    })
}

/// Opens what `url` names for reading only, also while another process owns it: events, status,
/// dead letters, schedules and state can be read, everything else is refused with
/// [`OpenError::Locked`], which names the owner, or
/// [`EngineError::ReadOnly`](crate::error::EngineError::ReadOnly).
///
/// An engine whose log is a server's is connected to as by [`connect`].
///
/// # Errors
/// As for [`connect`], and [`EngineError::Io`](crate::error::EngineError::Io) when there is no log.
pub async fn connect_reader(url: &str) -> Result<SharedEngine> {
    #[cfg(feature = "embedded")]
    {
        let parsed = Url::parse(url)?;
        if parsed.scheme == "embedded" {
            entry_of(&parsed)?.check_options(&parsed)?;
            return ensue_engine::open_reader(parsed, Clock::system()).await;
        }
    }
    connect(url).await
}

/// What a migration finds at `url`.
#[cfg(feature = "embedded")]
pub(super) fn place_of(url: &str) -> Result<Place> {
    let url = Url::parse(url)?;
    let entry = entry_of(&url)?;
    let home = entry.home()?;
    entry.check_options(&url)?;
    match home {
        Home::Directory => Ok(Place::Directory(url)),
        Home::Memory => Err(Error::Migrate(crate::error::MigrateError::Unfit {
            url: url.to_string(),
            found: "it ends with its process",
            expected: "a log that stays",
        })),
        #[cfg(feature = "distributed")]
        Home::Server(connector) => Ok(Place::Server { url, connector }),
        #[cfg(feature = "remote")]
        Home::Process => Err(Error::Migrate(crate::error::MigrateError::Unfit {
            url: url.to_string(),
            found: "another process has it open",
            expected: "the log itself: stop the server and name its directory",
        })),
    }
}

pub(super) fn entry_of(url: &Url) -> Result<&'static EngineEntry> {
    let entry = ENGINES.iter().find(|entry| entry.scheme == url.scheme);
    entry.ok_or_else(|| {
        let hint = OTHER_SCHEMES.iter().find(|(name, _)| *name == url.scheme);
        url.invalid(match hint {
            Some((name, meant)) => format!("`{name}` is not an engine; write {meant}"),
            None => format!("`{}` is not an engine", url.scheme),
        })
    })
}

/// Schemes that other programs use, or that are likely to be tried, and what is meant.
const OTHER_SCHEMES: &[(&str, &str)] = &[
    ("amqps", "`amqp://…?tls=true`"),
    ("dir", "`embedded:./data`"),
    ("disk", "`embedded:./data`"),
    ("embed", "`embedded:./data`"),
    ("file", "`embedded:./data`"),
    ("in-memory", "`memory:`"),
    ("inmemory", "`memory:`"),
    ("mem", "`memory:`"),
    ("pg", "`postgres://…`"),
    ("postgresql", "`postgres://…`"),
    ("rabbit", "`amqp://…`"),
    ("rabbitmq", "`amqp://…`"),
    ("rediss", "`redis://…?tls=true`"),
    ("valkey", "`redis://…`"),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::directory_of;

    #[tokio::test]
    async fn a_bad_url_says_what_is_known() {
        for (url, part) in [
            ("./data", "no scheme"),
            ("oracle://db", "`oracle` is not an engine"),
            ("memory:?colour=red", "no option `colour`"),
            ("memory:?durability", "has no value"),
            ("memory:?durability=os&durability=sync", "twice"),
            ("memory:orders", "has no name"),
            ("memory://orders", "has no name"),
            ("postgresql://h/db", "write `postgres://…`"),
            ("rediss://h", "write `redis://…?tls=true`"),
            ("file:./data", "write `embedded:./data`"),
            (" memory:", "blanks"),
            ("embedded:", "no directory"),
            ("embedded://", "no directory"),
            ("embedded:///", "root directory"),
            ("embedded:/", "root directory"),
            ("embedded:/.//..", "root directory"),
            ("embedded://data", "is a host"),
            ("embedded:~/data", "shell"),
            ("embedded:$HOME/data", "shell"),
            ("embedded:nats://h", "URL in a URL"),
            ("embedded:./data ", "blanks"),
            ("embedded: ./data", "blank"),
            ("embedded:./data&durability=os", "options begin with `?`"),
            ("embedded:./100%", "percent"),
            ("embedded:./%00", "NUL"),
            ("embedded:./%ff", "UTF-8"),
        ] {
            let error = connect(url).await.unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("embedded:./data"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_embedded_logs_directory_is_the_path_that_was_meant() {
        for (url, path) in [
            ("embedded:data", "data"),
            ("embedded:.", "."),
            ("embedded:../data", "../data"),
            ("embedded:/srv/x?durability=os", "/srv/x"),
            ("embedded:///srv/x", "/srv/x"),
            ("embedded://./data", "./data"),
            ("EMBEDDED:data", "data"),
            ("embedded:./my data", "./my data"),
            ("embedded:./my%20data%3F/100%25", "./my data?/100%"),
            ("embedded:./größe/R&D", "./größe/R&D"),
        ] {
            assert_eq!(
                directory_of(url).unwrap(),
                Some(PathBuf::from(path)),
                "{url}"
            );
        }
        assert_eq!(directory_of("memory:").unwrap(), None);
    }

    #[test]
    fn the_table_has_every_scheme() {
        let listed: Vec<_> = engines().iter().map(|entry| entry.scheme).collect();
        assert_eq!(listed, Scheme::ALL.map(|scheme| scheme.name));
    }

    #[tokio::test]
    async fn an_engine_promises_what_the_table_says() {
        let engine = connect("memory:").await.unwrap();
        let entry = engines().iter().find(|entry| entry.scheme == "memory");
        assert_eq!(engine.guarantees(), &entry.unwrap().guarantees);
        engine.close().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", directory.path().display());
        let engine = connect(&url).await.unwrap();
        let entry = engines().iter().find(|entry| entry.scheme == "embedded");
        assert_eq!(engine.guarantees(), &entry.unwrap().guarantees);
        engine.close().await.unwrap();
    }
}
