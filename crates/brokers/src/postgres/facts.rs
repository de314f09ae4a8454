//! What a PostgreSQL server says of itself, and what that means to the log on it.

use tokio_postgres::Client;

use super::failure::failure;
use super::link::Link;
use super::session::Session;
use super::{About, Finding, Place, Server, column, pooler};
use crate::error::Result;
use crate::server_clock::of_clock;
use crate::socket;
use crate::time::Timestamp;

/// The oldest version that is looked after by its makers, more or less.
const MAJOR_MIN: i32 = 12;
/// A server with fewer connections left than this is worth a look.
const CONNECTIONS_LEFT_MIN: i64 = 10;

const QUESTIONS: &str = "SELECT current_setting('server_version'), \
     current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), \
     current_setting('default_transaction_read_only') = 'on', current_setting('fsync') = 'on', \
     current_setting('full_page_writes') = 'on', current_setting('synchronous_commit'), \
     current_setting('synchronous_standby_names'), \
     (SELECT count(*) FROM pg_stat_replication), \
     current_setting('max_connections')::bigint, \
     (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
     current_schema()::text";

#[derive(Clone, Debug)]
pub(super) struct Facts {
    version: String,
    major: i32,
    is_standby: bool,
    is_read_only: bool,
    syncs: bool,
    is_safe_from_torn_pages: bool,
    /// As it was before our session saw to it that commits are on disk.
    synchronous_commit: String,
    synchronous_standbys: String,
    standbys: i64,
    connections_max: i64,
    connections: i64,
    schema: Option<String>,
}

/// Connects to the first address whose server can keep a log, and makes the tables if there are none.
/// Takes no longer than one answer may, over all addresses.
pub(super) async fn open(place: &Place) -> Result<(Link, Facts)> {
    let open = async |address| {
        let session = Session::open(place, address).await?;
        pooler::refuse(place, address, &session).await?;
        // Before the session is set up: it is to say how others are.
        let facts = Facts::of(&session.client, &place.server).await?;
        facts.refuse(&place.server)?;
        Ok((Link::of(session, place).await?, facts))
    };
    socket::first_fit(&place.server, socket::soon(), open).await
}

impl Facts {
    async fn of(client: &Client, server: &Server) -> Result<Self> {
        let row = client.query_one(QUESTIONS, &[]).await;
        let row = row.map_err(|error| failure(server, &error))?;
        Ok(Self {
            version: column(server, &row, 0)?,
            major: column(server, &row, 1)?,
            is_standby: column(server, &row, 2)?,
            is_read_only: column(server, &row, 3)?,
            syncs: column(server, &row, 4)?,
            is_safe_from_torn_pages: column(server, &row, 5)?,
            synchronous_commit: column(server, &row, 6)?,
            synchronous_standbys: column(server, &row, 7)?,
            standbys: column(server, &row, 8)?,
            connections_max: column(server, &row, 9)?,
            connections: column(server, &row, 10)?,
            schema: column(server, &row, 11)?,
        })
    }

    /// Refuses a server that cannot keep a log.
    fn refuse(&self, server: &Server) -> Result<()> {
        if self.major < MAJOR_MIN {
            return Err(server.unfit(
                format!("it is PostgreSQL {}", self.version),
                format!("update it to {MAJOR_MIN} or later"),
            ));
        }
        if self.is_standby {
            // A failover that is not over looks like this, too.
            return Err(server.unavailable(
                "it is a standby, and cannot be written to; name the address of the primary, or of both",
            ));
        }
        if self.is_read_only {
            return Err(server.unfit(
                "its transactions are read-only (`default_transaction_read_only`)",
                "set that to `off` for the user or the database",
            ));
        }
        match self.schema {
            Some(_) => Ok(()),
            None => Err(server.unfit(
                "no schema of the user's `search_path` exists",
                "make one with `CREATE SCHEMA`",
            )),
        }
    }

    fn is_durable(&self) -> bool {
        self.syncs && self.is_safe_from_torn_pages
    }

    pub(super) fn about(&self) -> About {
        About {
            server: format!("PostgreSQL {}", self.version),
            is_durable: self.is_durable(),
        }
    }

    /// One finding per aspect.
    pub(super) async fn findings(&self, link: &Link, place: &Place) -> Result<Vec<Finding>> {
        Ok(vec![
            Finding::well("version", format!("PostgreSQL {}", self.version)),
            self.durability(),
            self.replication(),
            self.connections(),
            self.permissions(link, place).await?,
            clock(link, &place.server).await?,
        ])
    }

    fn durability(&self) -> Finding {
        let word = |is_on| if is_on { "on" } else { "off" };
        let found = format!(
            "`fsync {}`, `full_page_writes {}`, `synchronous_commit {}`{}",
            word(self.syncs),
            word(self.is_safe_from_torn_pages),
            self.synchronous_commit,
            match self.synchronous_commit.as_str() {
                "off" => ", which Ensue's own sessions set to `local`",
                _ => "",
            }
        );
        match (self.syncs, self.is_safe_from_torn_pages) {
            (true, true) => Finding::well("durability", found),
            (false, _) => Finding::weak(
                "durability",
                found,
                "a power cut loses what was acknowledged, or the whole database",
                "set `fsync on`",
            ),
            (true, false) => Finding::weak(
                "durability",
                found,
                "a power cut may leave half-written pages",
                "set `full_page_writes on`",
            ),
        }
    }

    fn replication(&self) -> Finding {
        let standbys = self.standbys;
        let found = match self.synchronous_standbys.as_str() {
            "" => format!("{standbys} standbys are connected, commits wait for none"),
            names => format!("{standbys} standbys are connected, commits wait for `{names}`"),
        };
        let waits = !self.synchronous_standbys.is_empty()
            && !matches!(self.synchronous_commit.as_str(), "off" | "local");
        match (standbys, waits) {
            (0, true) => Finding::weak(
                "replication",
                found,
                "nothing can be appended while commits wait for a standby that is not there",
                "start the standby, or change `synchronous_standby_names`",
            ),
            (0, false) => Finding::weak(
                "replication",
                found,
                "when the server's disk is lost, so is the log",
                "add a standby, and name it in `synchronous_standby_names`",
            ),
            (_, false) => Finding::weak(
                "replication",
                found,
                "a failover to a standby loses what it had not received",
                "name standbys in `synchronous_standby_names`, with `synchronous_commit on`",
            ),
            (_, true) => Finding::well("replication", found),
        }
    }

    fn connections(&self) -> Finding {
        let (used, max) = (self.connections, self.connections_max);
        let found = format!("{used} of {max} are used; every process of Ensue needs two or three");
        if max - used < CONNECTIONS_LEFT_MIN {
            Finding::weak(
                "connections",
                found,
                "processes that start or come back may find no connection",
                "raise `max_connections`",
            )
        } else {
            Finding::well("connections", found)
        }
    }

    async fn permissions(&self, link: &Link, place: &Place) -> Result<Finding> {
        let server = &place.server;
        let asked = "SELECT has_table_privilege($1::text, 'SELECT') \
             AND has_table_privilege($1::text, 'INSERT') \
             AND has_table_privilege($2::text, 'SELECT') \
             AND has_table_privilege($2::text, 'UPDATE')";
        let rows = link.query(server, asked, &[&place.log, &place.end]).await?;
        let may = match rows.first() {
            Some(row) => column(server, row, 0)?,
            None => false,
        };
        let schema = self.schema.as_deref().unwrap_or_default();
        Ok(if may {
            Finding::well(
                "permissions",
                format!("the log in the schema `{schema}` may be read and appended to"),
            )
        } else {
            Finding::weak(
                "permissions",
                format!("the log in the schema `{schema}` is another user's"),
                "the log cannot be read or appended to",
                "grant SELECT, INSERT and UPDATE on its tables",
            )
        })
    }
}

async fn clock(link: &Link, server: &Server) -> Result<Finding> {
    Ok(match time(link, server).await? {
        Some(theirs) => of_clock(i128::from(theirs.as_micros() / 1_000)),
        None => Finding::well("clock", "the server does not tell its time"),
    })
}

/// What time it is on the server.
pub(super) async fn time(link: &Link, server: &Server) -> Result<Option<Timestamp>> {
    let asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let rows = link.query(server, asked, &[]).await?;
    let micros = rows.first().map(|row| column::<i64>(server, row, 0));
    Ok(micros.transpose()?.map(Timestamp::from_micros))
}
