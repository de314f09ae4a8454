//! The tables of an outbox.

use crate::database::Database;
use crate::dialect::Dialect;

/// What waits.
pub(super) const OUTBOX: &str = "ensue_outbox";
/// What the engine refuses, and what waits behind it.
pub(super) const PARKED: &str = "ensue_outbox_parked";
/// How far the database has followed the engine: one row.
pub(super) const RELAY: &str = "ensue_outbox_relay";
/// What transactions lock that publish in turn: a row for each lane.
pub(super) const TURN: &str = "ensue_outbox_turn";
/// The channel on which PostgreSQL wakes a relay.
pub(super) const CHANNEL: &str = "ensue_outbox";

/// What rows of the outbox and of the parked ones have in common.
pub(super) const COLUMNS: &str =
    "id, event_id, topic, type, event_key, source, content_type, data, written";

/// How many transactions can publish in turn beside each other, at the most.
pub(super) const LANES: i64 = 64;

/// What creates the tables of an outbox, unless they are there, and fills in what they begin with: a
/// statement for each. [`Outbox::open`](super::Outbox::open) does it; a program whose role may not create
/// tables puts this into its migrations and uses [`Outbox::attach`](super::Outbox::attach).
///
/// ```
/// # #[cfg(feature = "postgres")]
/// for statement in ensue_sql::outbox::statements::<sqlx::Postgres>() {
///     println!("{statement};");
/// }
/// ```
pub fn statements<DB: Database>() -> Vec<String> {
    let dialect = Dialect::of::<DB>();
    let topic = DB::key_type(ensue::TOPIC_BYTES_MAX);
    let key = DB::key_type(ensue::KEY_BYTES_MAX);
    let (row_id, bytes) = (dialect.row_id(), dialect.bytes());
    let (new_id, now) = (dialect.new_id(), dialect.now());
    let (insert, unless) = dialect.insert_unless_there();
    let event = |id_default: &str, written_default: &str| {
        format!(
            "event_id VARCHAR(255) NOT NULL{id_default}, topic {topic} NOT NULL, \
             type VARCHAR(255) NOT NULL, event_key {key} NOT NULL DEFAULT '', source VARCHAR(255), \
             content_type VARCHAR(255) NOT NULL DEFAULT 'application/json', data {bytes} NOT NULL, \
             written BIGINT NOT NULL{written_default}"
        )
    };
    let waiting = event(
        &format!(" DEFAULT ({new_id})"),
        &format!(" DEFAULT ({now})"),
    );
    let parked = event("", "");
    let lanes: Vec<String> = (0..LANES).map(|lane| format!("({lane})")).collect();
    let mut statements = vec![
        format!("CREATE TABLE IF NOT EXISTS {OUTBOX} (id {row_id}, {waiting})"),
        format!(
            "CREATE TABLE IF NOT EXISTS {PARKED} (id BIGINT NOT NULL PRIMARY KEY, {parked}, \
             reason VARCHAR(1000), parked BIGINT NOT NULL, UNIQUE (topic, event_key, id))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {RELAY} (seat BIGINT NOT NULL PRIMARY KEY, \
             identity VARCHAR(255) NOT NULL, batch BIGINT NOT NULL, progress VARCHAR(255), \
             is_idle BIGINT NOT NULL, syncs BIGINT NOT NULL DEFAULT 0)"
        ),
        format!("CREATE TABLE IF NOT EXISTS {TURN} (lane BIGINT NOT NULL PRIMARY KEY)"),
        format!(
            "{insert} {RELAY} (seat, identity, batch, is_idle) VALUES (1, {new_id}, 0, 0){unless}"
        ),
        format!("{insert} {TURN} (lane) VALUES {}{unless}", lanes.join(", ")),
    ];
    if dialect == Dialect::Postgres {
        statements.push(waking());
    }
    statements
}

/// A trigger that wakes the relay when it has nothing to do. While it is busy, nobody notifies: that takes a
/// lock that only one committing transaction of a database can have.
fn waking() -> String {
    format!(
        "DO $do$ BEGIN \
         IF to_regprocedure('{CHANNEL}_wake()') IS NULL THEN \
           CREATE FUNCTION {CHANNEL}_wake() RETURNS trigger LANGUAGE plpgsql AS $wake$ BEGIN \
             IF EXISTS (SELECT 1 FROM {RELAY} WHERE is_idle = 1) THEN \
               PERFORM pg_notify('{CHANNEL}', ''); \
             END IF; \
             RETURN NULL; \
           END $wake$; \
         END IF; \
         IF NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = '{CHANNEL}_wake' \
                        AND tgrelid = '{OUTBOX}'::regclass) THEN \
           CREATE TRIGGER {CHANNEL}_wake AFTER INSERT ON {OUTBOX} \
             FOR EACH STATEMENT EXECUTE FUNCTION {CHANNEL}_wake(); \
         END IF; \
         END $do$"
    )
}
