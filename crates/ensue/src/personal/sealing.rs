//! Sealing the personal values of an event before it is written, and opening them after it was read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Driver, Vault};
use crate::error::{PersonalError, Result};
use crate::event::{Event, Opened, Personal, PersonalField, PersonalValue, Sealable, Sealed};

/// What becomes of a value whose subject was forgotten before it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnForgotten {
    /// It is refused: who publishes is told.
    Refuse,
    /// It is written as forgotten: a handler that is under way is no reason to keep a person, and a person that was
    /// forgotten no reason for a dead letter.
    Blank,
}

/// What the engine seals and opens with.
pub(crate) fn vault_of<'a>(
    engine: &'a dyn Driver,
    what: &str,
) -> Result<&'a dyn Vault, PersonalError> {
    engine.vault().ok_or_else(|| PersonalError::NoKeys {
        event_type: what.to_owned(),
    })
}

/// Seals what is not sealed yet in an event, each value for the subject of its field.
pub(super) async fn seal_event<E: Event>(
    event: &mut E,
    vault: Option<&dyn Vault>,
    on_forgotten: OnForgotten,
) -> Result<(), PersonalError> {
    for field in event.personal() {
        for value in field.values {
            if let Some(sealed) = value.sealed() {
                check(field.name, &field.subject, sealed)?;
                continue;
            }
            let vault = vault.ok_or_else(|| PersonalError::NoKeys {
                event_type: E::TYPE.to_owned(),
            })?;
            seal_value(value, &field.subject, vault, on_forgotten).await?;
        }
    }
    Ok(())
}

async fn seal_value(
    value: &mut dyn Sealable,
    subject: &str,
    vault: &dyn Vault,
    on_forgotten: OnForgotten,
) -> Result<(), PersonalError> {
    let Some(plain) = value.plain() else {
        return Ok(());
    };
    let sealed = match vault.seal(subject, plain?).await {
        Err(PersonalError::Forgotten { .. }) if on_forgotten == OnForgotten::Blank => {
            Sealed::blank(subject)
        }
        sealed => sealed?,
    };
    value.put_sealed(sealed);
    Ok(())
}

/// Opens what is personal in an event, as far as there are keys for it.
pub(crate) async fn open_event<E: Event>(
    event: &mut E,
    vault: Option<&dyn Vault>,
) -> Result<(), PersonalError> {
    for PersonalField {
        name,
        subject,
        values,
    } in event.personal()
    {
        for value in values {
            if let Some(sealed) = value.sealed() {
                check(name, &subject, sealed)?;
            }
            open_value(value, vault).await?;
        }
    }
    Ok(())
}

/// Opens the values of a cell of state, or of what else holds some, as far as there are keys for them.
pub(crate) async fn open_all<P: PersonalValue + Send>(
    value: &mut P,
    engine: &dyn Driver,
) -> Result<()> {
    for value in value.values() {
        open_value(value, engine.vault()).await?;
    }
    Ok(())
}

async fn open_value(
    value: &mut dyn Sealable,
    vault: Option<&dyn Vault>,
) -> Result<(), PersonalError> {
    let Some(sealed) = value.sealed().filter(|_| value.is_masked()).cloned() else {
        return Ok(());
    };
    let opened = if sealed.is_blank() {
        Opened::Forgotten
    } else {
        let Some(vault) = vault else {
            return Ok(());
        };
        vault.open(&sealed).await?
    };
    match value.put_opened(opened) {
        true => Ok(()),
        false => Err(PersonalError::OtherType {
            subject: sealed.subject().to_owned(),
        }),
    }
}

/// A value that was sealed for somebody else is not what the field says.
fn check(field: &'static str, subject: &str, sealed: &Sealed) -> Result<(), PersonalError> {
    if sealed.subject() == subject {
        return Ok(());
    }
    Err(PersonalError::OtherSubject {
        field,
        expected: subject.to_owned(),
        found: sealed.subject().to_owned(),
    })
}

/// Seals one value.
pub(crate) async fn seal<T>(subject: &str, value: T, engine: &dyn Driver) -> Result<Personal<T>>
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    let vault = vault_of(engine, "a value")?;
    let mut value = Personal::from(value);
    seal_value(&mut value, subject, vault, OnForgotten::Refuse).await?;
    Ok(value)
}
