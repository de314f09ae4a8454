//! The policy in force, and how it follows the files that it is from.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ensue::Timestamp;

use super::files::{Files, Fingerprint};
use super::login::Logins;
use super::policy::{Difference, Lasting, Policy};
use crate::config::{Config, ConfigError};

/// The policy in force, and the files that it is from.
#[derive(Debug)]
pub(super) struct Reloading {
    /// What the server was started with.
    config: Config,
    lasting: Lasting,
    policy: RwLock<Arc<Policy>>,
    last: Mutex<Reload>,
    /// What was read last. Held while files are read: one reading comes after the other.
    read: Mutex<Fingerprint>,
}

/// How the last reading of the files went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reload {
    /// When the policy in force was read, if that was after the start.
    pub(crate) at: Option<Timestamp>,
    /// Why a newer one is not in force.
    pub(crate) problem: Option<String>,
}

impl Reloading {
    /// What the files say now.
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let logins = Logins::new().map_err(|problem| ConfigError::Malformed(problem.to_owned()))?;
        let lasting = Lasting::new(logins);
        let (policy, fingerprint) = read(config, &lasting);
        Ok(Self {
            lasting,
            config: config.clone(),
            policy: RwLock::new(Arc::new(policy?)),
            last: Mutex::default(),
            read: Mutex::new(fingerprint),
        })
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        policy.clone()
    }

    pub(super) fn last(&self) -> Reload {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Reads the files again; what cannot be used as a whole changes nothing. It waits for the disk.
    pub(super) fn reload(&self, now: Timestamp) -> Result<Difference, ConfigError> {
        let mut seen = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (policy, fingerprint) = read(&self.config, &self.lasting);
        *seen = fingerprint;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match policy.and_then(|policy| self.policy().succeeded_by(policy)) {
            Ok(policy) => {
                let mut current = self.policy.write().unwrap_or_else(PoisonError::into_inner);
                let difference = Difference::between(&current, &policy);
                *current = Arc::new(policy);
                drop(current);
                self.lasting.usages.tidy();
                *last = Reload {
                    at: Some(now),
                    problem: None,
                };
                tracing::info!("certificates, tokens and permissions were reloaded");
                Ok(difference)
            }
            Err(error) => {
                tracing::error!(%error, "certificates, tokens and permissions stay as they were");
                last.problem = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Where callers prove who they are who have no token of the server itself.
    pub(super) fn providers(&self) -> &super::provider::Providers {
        &self.lasting.providers
    }

    /// Whether the files hold something else than when they were read. It waits for the disk.
    pub(super) fn has_changed(&self) -> bool {
        let seen = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        seen.has_changed()
    }
}

/// What the files say, and which they are and what is in them, whether they can be used or not.
fn read(config: &Config, lasting: &Lasting) -> (Result<Policy, ConfigError>, Fingerprint) {
    let mut files = Files::new();
    let policy = current(config, &mut files);
    let policy = policy.and_then(|config| Policy::read(&config, &mut files, lasting));
    (policy, files.fingerprint())
}

/// The configuration as its file is now, as far as it can change while the server listens.
fn current(config: &Config, files: &mut Files) -> Result<Config, ConfigError> {
    let Some(path) = config.file() else {
        return Ok(config.clone());
    };
    let text = files.read("config", path)?;
    let text =
        String::from_utf8(text).map_err(|_| ConfigError::Malformed("it is not text".to_owned()))?;
    let mut now = Config::from_file(path, &text)?;
    now.listen = config.listen;
    now.insecure_let_everyone_in = config.insecure_let_everyone_in;
    now.limits = config.limits.clone();
    now.check()?;
    Ok(now)
}
