//! Which version is read: the flag in `ensue_projection`, and the views that have the tables' plain names.

use sqlx::Pool;

use super::names::Names;
use super::position;
use super::version::{self, Version};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::tables;

/// How many positions a version may be behind the one whose place it takes.
pub(super) const BEHIND_MAX: i64 = 1_000;

/// Makes a version the one that is read, its views included: one transaction where the database has changes
/// of the schema in transactions. On MySQL the flag is first; a view that is not switched then is switched
/// when the command is repeated, or an owner of the version begins.
pub(super) async fn switch<DB: Database>(
    pool: &Pool<DB>,
    projection: &str,
    number: i64,
    is_forced: bool,
) -> Result<()> {
    tables::create(pool).await?;
    let mut transaction = pool.begin_with(DB::BEGIN).await?;
    let all = version::versions::<DB>(&mut transaction, Some(projection), true).await?;
    let active = all.iter().find(|it| it.is_active).cloned();
    let wanted = version::find(all, projection, number)?;
    if wanted.is_retired {
        return Err(Error::Retired {
            projection: projection.to_owned(),
            version: number,
        });
    }
    if let Some(active) = active.filter(|_| !is_forced) {
        let behind = reached::<DB>(&mut transaction, &active).await?
            - reached::<DB>(&mut transaction, &wanted).await?;
        if behind > BEHIND_MAX {
            return Err(Error::Behind {
                projection: projection.to_owned(),
                version: number,
                behind,
            });
        }
    }
    version::activate::<DB>(&mut transaction, projection, number).await?;
    let names = Names::new(projection, number, &wanted.tables);
    if DB::HAS_TRANSACTIONAL_DDL {
        show::<DB>(&mut transaction, &names).await?;
        transaction.commit().await?;
    } else {
        transaction.commit().await?;
        let mut connection = pool.acquire().await?;
        show::<DB>(&mut connection, &names).await?;
    }
    Ok(())
}

/// The lane that is furthest behind.
pub(super) async fn reached<DB: Database>(
    connection: &mut DB::Connection,
    version: &Version,
) -> Result<i64> {
    let name = super::names::group(&version.projection, version.version);
    let lanes = position::lanes::<DB>(connection, &name).await?;
    Ok(lanes.iter().map(|lane| lane.position).min().unwrap_or(0))
}

/// Gives the tables of a version their plain names.
pub(super) async fn show<DB: Database>(
    connection: &mut DB::Connection,
    names: &Names,
) -> Result<()> {
    for view in names.tables() {
        let table = names.table(view);
        for statement in DB::show_as(&table, view) {
            DB::run(connection, statement).await?;
        }
    }
    Ok(())
}
