//! Configuration: from files, the environment, etcd and Nacos, followed, and the last good one kept.
//!
//! `ENSUE_SERVICES` names the servers, as in the tests of the engines.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod files;
mod in_etcd;
mod in_nacos;

use std::time::Duration;

use ensue_blocks::config::{Config, ConfigStatus};
use serde::{Deserialize, Serialize};

/// Only what hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// How often files are looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shop {
    pub(crate) workers: u32,
    pub(crate) password: String,
}

pub(crate) fn shop(workers: u32, password: &str) -> Shop {
    Shop {
        workers,
        password: password.to_owned(),
    }
}

pub(crate) fn has_workers(shop: &Shop) -> Result<(), String> {
    match shop.workers {
        0 => Err("there must be workers".to_owned()),
        _ => Ok(()),
    }
}

/// Waits until the status is like this.
pub(crate) async fn until(
    config: &Config<Shop>,
    is: impl Fn(&ConfigStatus) -> bool,
) -> ConfigStatus {
    let look = async {
        loop {
            let status = config.status();
            if is(&status) {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, look).await;
    looked.unwrap_or_else(|_| panic!("it stays {:?}", config.status()))
}
