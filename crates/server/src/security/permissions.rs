//! What a caller may do: topics for each action, and nothing that is not said.

use ensue::TopicPattern;

use super::access::Action;

/// What a caller may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permissions {
    publish: Vec<TopicPattern>,
    read: Vec<TopicPattern>,
    consume: Vec<TopicPattern>,
    operate: Vec<TopicPattern>,
    admin: bool,
    /// Everything, reserved topics among it: what the owner of the process may do.
    everything: bool,
}

impl Permissions {
    /// Those of a process of this machine, when nothing else was said.
    pub(crate) fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    pub(crate) fn are_everything(&self) -> bool {
        self.everything
    }

    fn patterns(&self, action: Action) -> &[TopicPattern] {
        match action {
            Action::Publish => &self.publish,
            Action::Read => &self.read,
            Action::Consume => &self.consume,
            Action::Operate => &self.operate,
            Action::Admin => &[],
        }
    }

    /// Whether the action is allowed with some topic.
    pub(crate) fn has(&self, action: Action) -> bool {
        let is_admin = action == Action::Admin && self.admin;
        self.everything || is_admin || !self.patterns(action).is_empty()
    }

    /// Whether the action is allowed with this topic.
    pub(crate) fn may(&self, action: Action, topic: &str) -> bool {
        let mut patterns = self.patterns(action).iter();
        self.everything || patterns.any(|pattern| pattern.matches(topic))
    }

    /// Whether the action is allowed with every topic that `wanted` selects.
    pub(crate) fn covers(&self, action: Action, wanted: &TopicPattern) -> bool {
        let mut patterns = self.patterns(action).iter();
        self.everything || patterns.any(|pattern| pattern.covers(wanted))
    }
}
