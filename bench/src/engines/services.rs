//! The servers that run, as `cargo xtask services status --json` lists them.

use std::path::Path;

use serde::Deserialize;

use crate::Outcome;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) url: String,
}

/// All that the file lists; whether they answer shows when they are connected to.
pub(super) fn read(file: &Path) -> Outcome<Vec<Service>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}
