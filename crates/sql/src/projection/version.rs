//! The versions of a projection, in the database: who builds which, and which is read.

use crate::database::{Database, Row, Value};
use crate::error::{Error, Result};
use crate::tables::PROJECTION;

/// One version of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) projection: String,
    /// Its number: what its tables' names end with.
    pub(crate) version: i64,
    /// Which code builds it.
    pub(crate) revision: i64,
    /// Whether it is the one that is read.
    pub(crate) is_active: bool,
    /// Whether nobody builds it any more.
    pub(crate) is_retired: bool,
    /// Who builds it, if anybody does.
    pub(crate) owner: Option<String>,
    /// How many owners it has had.
    pub(crate) epoch: i64,
    /// Moves as long as its owner lives.
    pub(crate) beat: i64,
    /// Up to where the log reached when the owner said so last.
    pub(crate) log_end: i64,
    /// Its tables, as they are read.
    pub(crate) tables: Vec<String>,
}

/// The versions of one projection, or of all, in their order.
pub(crate) async fn versions<DB: Database>(
    connection: &mut DB::Connection,
    projection: Option<&str>,
    for_update: bool,
) -> Result<Vec<Version>> {
    let (condition, values) = match projection {
        Some(name) => (" WHERE name = ?", vec![Value::from(name)]),
        None => ("", Vec::new()),
    };
    let statement = format!(
        "SELECT name, version, revision, is_active, is_retired, owner, epoch, beat, log_end, tables \
         FROM {PROJECTION}{condition} ORDER BY name, version{}",
        if for_update { DB::FOR_UPDATE } else { "" }
    );
    let rows = DB::rows(connection, statement, values).await?;
    rows.into_iter().map(read).collect()
}

fn read(cells: Vec<crate::database::Cell>) -> Result<Version> {
    let mut row = Row::new(PROJECTION, cells);
    Ok(Version {
        projection: row.text()?,
        version: row.integer()?,
        revision: row.integer()?,
        is_active: row.integer()? != 0,
        is_retired: row.integer()? != 0,
        owner: row.optional_text()?,
        epoch: row.integer()?,
        beat: row.integer()?,
        log_end: row.integer()?,
        tables: row
            .text()?
            .split(',')
            .filter(|table| !table.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// Adds a version behind those that there are; the first is read at once. Inside a transaction that has
/// read them for an update.
pub(crate) async fn add<DB: Database>(
    connection: &mut DB::Connection,
    projection: &str,
    revision: i64,
    tables: &[String],
    others: &[Version],
) -> Result<i64> {
    let version = others.iter().map(|it| it.version).max().unwrap_or(0) + 1;
    let is_active = i64::from(!others.iter().any(|it| it.is_active));
    let statement = format!(
        "INSERT INTO {PROJECTION} (name, version, revision, is_active, is_retired, epoch, beat, log_end, \
         tables) VALUES (?, ?, ?, ?, 0, 0, 0, 0, ?)"
    );
    let values = [
        projection.into(),
        version.into(),
        revision.into(),
        is_active.into(),
        Value::Text(tables.join(",")),
    ];
    DB::execute(connection, statement, values).await?;
    Ok(version)
}

/// Makes somebody the owner of a version, if that is as it was `seen`; the new epoch.
pub(crate) async fn claim<DB: Database>(
    connection: &mut DB::Connection,
    seen: &Version,
    owner: &str,
) -> Result<Option<i64>> {
    let statement = format!(
        "UPDATE {PROJECTION} SET epoch = epoch + 1, beat = beat + 1, owner = ? \
         WHERE name = ? AND version = ? AND epoch = ? AND beat = ? AND is_retired = 0"
    );
    let values = [
        owner.into(),
        seen.projection.as_str().into(),
        seen.version.into(),
        seen.epoch.into(),
        seen.beat.into(),
    ];
    let claimed = DB::execute(connection, statement, values).await? == 1;
    Ok(claimed.then_some(seen.epoch + 1))
}

/// Says that the owner lives, and how far the log is; `false` if it is not the owner any more.
pub(crate) async fn beat<DB: Database>(
    connection: &mut DB::Connection,
    (projection, version): (&str, i64),
    epoch: i64,
    log_end: i64,
) -> Result<bool> {
    let statement = format!(
        "UPDATE {PROJECTION} SET beat = beat + 1, log_end = ? \
         WHERE name = ? AND version = ? AND epoch = ? AND is_retired = 0"
    );
    let values = [
        log_end.into(),
        projection.into(),
        version.into(),
        epoch.into(),
    ];
    Ok(DB::execute(connection, statement, values).await? == 1)
}

/// The owner ends in good order.
pub(crate) async fn release<DB: Database>(
    connection: &mut DB::Connection,
    (projection, version): (&str, i64),
    epoch: i64,
) -> Result<()> {
    let statement = format!(
        "UPDATE {PROJECTION} SET owner = NULL, beat = beat + 1 \
         WHERE name = ? AND version = ? AND epoch = ?"
    );
    let values = [projection.into(), version.into(), epoch.into()];
    DB::execute(connection, statement, values).await?;
    Ok(())
}

/// Makes a version the one that is read: one statement, so that there is always exactly one.
pub(crate) async fn activate<DB: Database>(
    connection: &mut DB::Connection,
    projection: &str,
    version: i64,
) -> Result<()> {
    let statement = format!(
        "UPDATE {PROJECTION} SET is_active = CASE WHEN version = ? THEN 1 ELSE 0 END WHERE name = ?"
    );
    DB::execute(connection, statement, [version.into(), projection.into()]).await?;
    Ok(())
}

/// Ends a version: nobody builds it any more.
pub(crate) async fn retire<DB: Database>(
    connection: &mut DB::Connection,
    projection: &str,
    version: i64,
) -> Result<()> {
    let statement =
        format!("UPDATE {PROJECTION} SET is_retired = 1 WHERE name = ? AND version = ?");
    DB::execute(connection, statement, [projection.into(), version.into()]).await?;
    Ok(())
}

/// The version of this number among those of a projection.
pub(crate) fn find(versions: Vec<Version>, projection: &str, version: i64) -> Result<Version> {
    let known: Vec<String> = versions.iter().map(|it| it.version.to_string()).collect();
    let found = versions.into_iter().find(|it| it.version == version);
    found.ok_or_else(|| Error::UnknownVersion {
        projection: projection.to_owned(),
        version,
        known: known.join(", "),
    })
}
