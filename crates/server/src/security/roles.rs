//! What roles allow, and callers whose roles others name: an issuer, or a provider at a login.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::caller::{Proof, Who};
use super::permissions::Permissions;
use super::usage::Usages;
use crate::config::{Limits, Role};

/// How many callers are remembered.
const CALLERS_MAX: usize = 10_000;

/// Roles that others name, and the callers that they did it for.
#[derive(Debug)]
pub(super) struct Roles {
    roles: BTreeMap<String, Role>,
    usages: Usages,
    limits: Limits,
    /// Callers by what they proved: what they use is counted as long as they are here.
    callers: Mutex<HashMap<String, Arc<Who>>>,
}

impl Roles {
    pub(super) fn new(roles: &BTreeMap<String, Role>, usages: &Usages, limits: &Limits) -> Self {
        Self {
            roles: roles.clone(),
            usages: usages.clone(),
            limits: limits.clone(),
            callers: Mutex::default(),
        }
    }

    /// The caller of this name, who has proved it in this way.
    pub(super) fn caller(&self, name: String, proof: Proof, named: &[String]) -> Arc<Who> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(who) = callers.get(&name).filter(|who| *who.proof() == proof) {
            return who.clone();
        }
        let usage = self.usages.of(&name, &self.limits);
        // Others name roles of other systems, too.
        let known = named.iter().filter(|role| self.roles.contains_key(*role));
        let permissions = permissions(&name, &known.cloned().collect::<Vec<_>>(), &self.roles);
        let who = Arc::new(Who::new(name.clone(), proof, permissions, usage));
        if callers.len() >= CALLERS_MAX {
            callers.clear();
        }
        callers.insert(name, who.clone());
        who
    }
}

/// What several roles allow together. A role that is gone allows nothing.
pub(super) fn permissions(
    name: &str,
    of: &[String],
    roles: &BTreeMap<String, Role>,
) -> Permissions {
    let mut permissions = Permissions::default();
    for role in of {
        match roles.get(role) {
            Some(role) => permissions.add(role),
            None => tracing::warn!(
                caller = name,
                role,
                "a caller has a role that the configuration does not have"
            ),
        }
    }
    permissions
}
