//! What clients of each group had when they were lost, by whichever door they came.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ensue::consumer::Suspects;

/// Of how many groups it is remembered what clients had when they were lost.
const GROUPS_MAX: usize = 1_024;

/// What clients had when they were lost, of each group.
#[derive(Debug, Default)]
pub(crate) struct SuspectsOfGroups(Mutex<HashMap<String, Suspects>>);

impl SuspectsOfGroups {
    /// What clients of a group had: the same for all of its members.
    pub(crate) fn of(&self, group: &str) -> Suspects {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suspects) = groups.get(group) {
            return suspects.clone();
        }
        let suspects = Suspects::default();
        groups.retain(|_, it| !it.is_unused() || !it.is_empty());
        if groups.len() >= GROUPS_MAX {
            // Of groups without members it is forgotten.
            groups.retain(|_, it| !it.is_unused());
        }
        groups.insert(group.to_owned(), suspects.clone());
        suspects
    }
}

#[cfg(test)]
mod tests {
    use ensue::Position;

    use super::*;

    #[test]
    fn what_is_remembered_without_members_is_bounded() {
        let groups = SuspectsOfGroups::default();
        let held = groups.of("held");
        for number in 0..2 * GROUPS_MAX {
            groups.of(&number.to_string()).lost(&[Position::new(1)]);
        }
        assert!(groups.0.lock().unwrap().len() <= GROUPS_MAX);
        held.lost(&[Position::new(7)]);
        assert!(!groups.of("held").is_empty(), "it is the same");
    }
}
